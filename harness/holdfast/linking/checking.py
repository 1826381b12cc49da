"""The check of the link: walks of a model on the exchange, and histories of the exchange in the model."""

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from time import monotonic

from msgspec import Struct

from holdfast.engine import Engine, LocalEngine
from holdfast.linking.accepting import History
from holdfast.linking.following import Follower, Walk, path_of, why_not_linked
from holdfast.workers import Lost, spread
from holdfast_model.evidence import Bound, Verdict
from holdfast_model.findings import LinkCheck, LinkDifference
from holdfast_model.spec.model import Instance, Model
from holdfast_model.specs import load_model


class Linked(Struct, frozen=True, kw_only=True):
    """A model that is linked, and a path with which every second walk and history sets out, to get further.

    At its end nothing waits in the queue of surge: that is not in the exchange, and a history knows nothing of it.
    """

    model: str
    path: tuple[str, ...]


def _linked(model: str, path: str) -> Linked:
    return Linked(model=f"exchange:slice={model}", path=tuple(path.split("; ")))


_CREDITED = "send_deposit(d1, u1, USDT, amount=1); report_block; report_deposit(d1); mine; report_block"
_SIGNED_NEXT = "request_withdrawal(w1, u1, USDT, amount=1); approve_withdrawal(w1); commit_nonce(w1, s2)"
_PLEDGED = (
    "deposit(u1, USDT, amount=1); deposit(u2, USDT, amount=2); transfer(u1, p1, amount=1, to-product); "
    "transfer(u2, p1, amount=2, to-product)"
)
_POSITION = "set_mark(p1, price=3); trade_position(u1, u2, p1, price=3, size=1)"
_FUNDED = "deposit(u1, SOL, amount=2); deposit(u2, USDT, amount=3)"
_MAINTAINED = "restrict; announce; begin_maintenance"

LINKED = (
    _linked("trading,orders=4,amounts=3", f"{_FUNDED}; place(u1, sell, price=1, size=2)"),
    _linked("margin,products=1", f"{_PLEDGED}; {_POSITION}"),
    _linked("margin", f"{_PLEDGED}; {_POSITION}; halt_product(p2)"),
    _linked("custody,blocks=5", f"{_CREDITED}; {_SIGNED_NEXT}"),
    _linked("maintenance,log=4", f"deposit(u1, SOL, amount=1); {_MAINTAINED}"),
    _linked("replication,log=4,epochs=6", "deposit(u1, USDT, amount=1); isolate; promote(r2)"),
    _linked("surge,requests=3", "deposit(u1, USDT, amount=1); send(q1); serve_order(q1, lost)"),
    _linked("trading+phases+recovery,orders=3,log=4,amounts=3", f"{_FUNDED}; place(u1, sell, price=1, size=2)"),
    _linked("trading+maintenance,orders=3,log=4,amounts=3", f"{_FUNDED}; place(u1, sell, price=1, size=2)"),
    _linked(
        "trading+replication,faults=0,log=4,epochs=6",
        "deposit(u1, SOL, amount=1); deposit(u2, USDT, amount=1); cut_off(r1)",
    ),
    _linked("margin+maintenance,faults=0,log=4,amounts=3,prices=3", f"{_PLEDGED}; snapshot; {_POSITION}"),
    _linked("custody+recovery,faults=0,log=4,blocks=5", f"{_CREDITED}; snapshot; {_SIGNED_NEXT}"),
    _linked("custody+maintenance,faults=0,log=4,blocks=5,nonces=2", f"{_CREDITED}; snapshot; {_SIGNED_NEXT}"),
    _linked(
        "custody+replication,faults=0,log=4,blocks=5,nonces=2,epochs=6", f"{_CREDITED}; snapshot; {_SIGNED_NEXT}"
    ),
    _linked("maintenance+replication,faults=0,log=4,epochs=6", f"deposit(u1, USDT, amount=1); {_MAINTAINED}"),
    _linked("replication+surge,faults=0,requests=2,log=4,epochs=6", "deposit(u1, USDT, amount=1); cut_off(r2)"),
    _linked("all,faults=0,amounts=2,log=4,epochs=6,blocks=5", f"{_CREDITED}; snapshot; {_SIGNED_NEXT}"),
)
"""The whole exchange and every slice that is explored, at sizes at which paths get further than a search does."""

GUARD_SECONDS = 1_800.0
"""For how long one link is checked at most: many times what the deepest profile needs."""

Engines = Callable[[], Engine]
"""Makes a new engine."""


class Work(Struct, frozen=True, kw_only=True):
    """How much of a link is checked."""

    walks: int
    walk_steps: int
    histories: int
    history_moves: int


class _Job(Struct, frozen=True, kw_only=True):
    """The check of one model, as it is handed to another process."""

    linked: Linked
    seed: int
    work: Work


def check_links(models: Sequence[Linked], *, seed: int, work: Work) -> Iterator[tuple[LinkCheck, float | None]]:
    """The checks of these models on the reference exchange, in order, each with its seconds; the cores share them."""
    jobs = [_Job(linked=linked, seed=seed, work=work) for linked in models]
    for job, done in zip(jobs, spread(_check, jobs, guard_seconds=GUARD_SECONDS), strict=True):
        yield (_lost(job, done.how), None) if isinstance(done, Lost) else done


def _lost(job: _Job, how: str) -> LinkCheck:
    """Nothing is known of a link whose process was lost."""
    return LinkCheck(
        model=job.linked.model,
        verdict=Verdict.INCONCLUSIVE,
        bounds=(),
        steps=0,
        moves=0,
        actions={},
        passed_over={f"the check did not come to its end: {how}": 1},
    )


def _check(job: _Job) -> tuple[LinkCheck, float]:
    start = monotonic()
    return check_link(job.linked, seed=job.seed, work=job.work), monotonic() - start


def check_link(linked: Linked, *, seed: int, work: Work, engines: Engines = LocalEngine) -> LinkCheck:
    """Walks and histories of a model, to the first difference. The engine is the reference unless another is made.

    Nothing is concluded where no step or no move was taken, or where the model is not linked.
    """
    model = load_model(linked.model)
    reason = why_not_linked(model)
    assert not reason, reason
    checked = _Checked(model, path_of(model, linked.path), seed, work, engines)
    for kind, count, check in (("walk", work.walks, checked.walk), ("history", work.histories, checked.history)):
        for number in range(1, count + 1):
            if checked.difference is None:
                check(f"{kind} {number}", sets_out=number % 2 == 0)
    return checked.found()


class _Checked:
    """What was found so far."""

    def __init__(self, model: Model, path: Sequence[Instance], seed: int, work: Work, engines: Engines) -> None:
        self._model, self._way, self._seed, self._work, self._engines = model, path, seed, work, engines
        self._taken: Counter[str] = Counter()
        self._passed_over: Counter[str] = Counter()
        self._moves = 0
        self._path: tuple[str, ...] = ()
        self._origin = ""
        self.difference: LinkDifference | None = None

    def walk(self, origin: str, *, sets_out: bool) -> None:
        """One walk of the model, followed by the exchange."""
        follower = Follower(self._model, self._engines())
        if sets_out:
            follower.set_out(self._way)
            self._taken.update(instance.action.name for instance in self._way[: len(follower.steps)])
        walk = Walk(follower, f"{self._seed} {self._model.name} {origin}", self._taken)
        for _ in range(self._work.walk_steps):
            step = walk.next() if follower.difference is None else None
            if step is None:
                break
            follower.take(*step)
        self._passed_over.update(walk.not_taken)
        self._differs(origin, follower.difference, follower.steps)

    def history(self, origin: str, *, sets_out: bool) -> None:
        """One history of the exchange, explained by the model."""
        way = self._way if sets_out else ()
        history = History(self._model, self._engines(), f"{self._seed} {self._model.name} {origin}", way)
        for _ in range(self._work.history_moves):
            if history.is_over or history.go_on() is None:
                break
        self._moves += len(history.moves)
        self._differs(origin, history.difference, history.moves)

    def _differs(self, origin: str, difference: LinkDifference | None, path: Sequence[str]) -> None:
        if difference is not None:
            self.difference, self._origin, self._path = difference, origin, tuple(path)

    def found(self) -> LinkCheck:
        """The evidence."""
        work, steps = self._work, self._taken.total()
        concluded = (steps or not work.walks) and (self._moves or not work.histories) and (steps or self._moves)
        verdict = Verdict.HELD if concluded else Verdict.INCONCLUSIVE
        return LinkCheck(
            model=self._model.name,
            verdict=verdict if self.difference is None else Verdict.VIOLATED,
            bounds=(
                Bound(name="walks of the model", value=str(work.walks)),
                Bound(name="steps of each at most", value=str(work.walk_steps)),
                Bound(name="histories of the exchange", value=str(work.histories)),
                Bound(name="moves of each at most", value=str(work.history_moves)),
                Bound(name="seed", value=str(self._seed)),
            ),
            steps=steps,
            moves=self._moves,
            actions={action.name: self._taken[action.name] for action in self._model.actions},
            passed_over=dict(sorted(self._passed_over.items())),
            origin=self._origin,
            path=self._path,
            difference=self.difference,
        )
