"""The check of the link: walks of a model on the exchange, and histories of the exchange in the model."""

from collections import Counter
from collections.abc import Callable, Sequence

from msgspec import Struct

from holdfast.engine import Engine, LocalEngine
from holdfast.linking.accepting import History
from holdfast.linking.following import Follower, Walk, why_not_linked
from holdfast.workers import spread
from holdfast_model.evidence import Bound, Verdict
from holdfast_model.findings import LinkCheck, LinkDifference
from holdfast_model.spec.model import Model
from holdfast_model.specs import load_model

LINKED = (
    "exchange:slice=trading,orders=4,amounts=3",
    "exchange:slice=margin,products=1,amounts=5,prices=4",
    "exchange:slice=margin,amounts=3,prices=3",
    "exchange:slice=custody,blocks=5",
    "exchange:slice=maintenance,log=4",
    "exchange:slice=replication,log=4,epochs=6",
    "exchange:slice=surge,requests=3",
    "exchange:slice=trading+phases+recovery,orders=3,log=4,amounts=3",
    "exchange:slice=trading+maintenance,orders=3,log=4,amounts=3",
    "exchange:slice=trading+replication,faults=0,log=4,epochs=6",
    "exchange:slice=margin+maintenance,amounts=5,faults=0,log=4,prices=4",
    "exchange:slice=custody+recovery,faults=0,log=4,blocks=5",
    "exchange:slice=custody+maintenance,faults=0,log=4,blocks=5,nonces=2",
    "exchange:slice=custody+replication,faults=0,log=4,blocks=5,nonces=2,epochs=6",
    "exchange:slice=maintenance+replication,faults=0,log=4,epochs=6",
    "exchange:slice=replication+surge,faults=0,requests=2,log=4,epochs=6",
)
"""Every slice that is explored, at sizes at which paths get further: nobody visits all of their states."""

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

    model: str
    seed: int
    work: Work


def check_links(models: Sequence[str], *, seed: int, work: Work) -> list[LinkCheck]:
    """The checks of these models on the reference exchange, shared among the cores, in order."""
    jobs = [_Job(model=model, seed=seed, work=work) for model in models]
    found = list(spread(_check, jobs))
    assert all(check is not None for check in found), "a process that checks a link does not die"
    return [check for check in found if check is not None]


def _check(job: _Job) -> LinkCheck:
    return check_link(load_model(job.model), seed=job.seed, work=job.work)


def check_link(model: Model, *, seed: int, work: Work, engines: Engines = LocalEngine) -> LinkCheck:
    """Walks and histories of a model, to the first difference. The engine is the reference unless another is made.

    Nothing is concluded where no step or no move was taken, or where the model is not linked.
    """
    reason = why_not_linked(model)
    assert not reason, reason
    checked = _Checked(model, seed, work, engines)
    for kind, count, check in (("walk", work.walks, checked.walk), ("history", work.histories, checked.history)):
        for number in range(1, count + 1):
            if checked.difference is None:
                check(f"{kind} {number}")
    return checked.found()


class _Checked:
    """What was found so far."""

    def __init__(self, model: Model, seed: int, work: Work, engines: Engines) -> None:
        self._model, self._seed, self._work, self._engines = model, seed, work, engines
        self._taken: Counter[str] = Counter()
        self._passed_over: Counter[str] = Counter()
        self._moves = 0
        self._path: tuple[str, ...] = ()
        self._origin = ""
        self.difference: LinkDifference | None = None

    def walk(self, origin: str) -> None:
        """One walk of the model, followed by the exchange."""
        follower = Follower(self._model, self._engines())
        walk = Walk(follower, f"{self._seed} {self._model.name} {origin}", self._taken)
        for _ in range(self._work.walk_steps):
            step = walk.next() if follower.difference is None else None
            if step is None:
                break
            follower.take(*step)
        self._passed_over.update(walk.not_taken)
        self._differs(origin, follower.difference, follower.steps)

    def history(self, origin: str) -> None:
        """One history of the exchange, explained by the model."""
        history = History(self._model, self._engines(), f"{self._seed} {self._model.name} {origin}")
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
