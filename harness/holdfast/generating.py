"""Generating sequences: a seeded source of steps that mixes trading and funds with maintenance, crashes and surges.

One seed gives one sequence on any machine: a longer run begins with the shorter one. The source looks at what the
exchange has told so far, so that most of what it does makes sense, and some of it is wrong on purpose. Single steps
are drawn by weight; between them come moves, whose steps belong together (`Moves`), and into which other steps fall.
"""

from collections.abc import Callable, Iterator
from itertools import accumulate
from random import Random

from msgspec.structs import replace

from holdfast.drawing import PRICE_MIDDLE, PRICE_SPREAD, SELF_TRADE_NEEDS, Moves
from holdfast.keeping import Keeping
from holdfast.known import Known
from holdfast.setups import AUCTION_SETUP, MARGIN_SETUP, OPERATIONS_SETUP, SMALL_SETUP, setups_for
from holdfast_invariants.told import Told
from holdfast_model.vocabulary import (
    SPOT,
    AccrueInterest,
    Borrow,
    Burst,
    CancelOrder,
    Capability,
    Command,
    CommitNonce,
    Conditions,
    ConfirmLoad,
    CoverShortfall,
    Crash,
    CrashPoint,
    CreditDeposit,
    FundHouse,
    GrantPromotion,
    HaltProduct,
    PayWithdrawal,
    Phase,
    PlaceOrder,
    PriceTicks,
    Reason,
    Repay,
    ReportDeposit,
    RequestWithdrawal,
    Restart,
    RestoreSnapshot,
    SetPhase,
    SettleFunding,
    Setup,
    Side,
    Stage,
    Step,
    SubmitShare,
    SweepFunds,
    TakeSnapshot,
    TimeInForce,
    TransferMargin,
)

__all__ = [
    "AUCTION_SETUP",
    "EPISODE_STEPS",
    "MARGIN_SETUP",
    "OPERATIONS_SETUP",
    "REPEATED",
    "SELF_TRADE_NEEDS",
    "SMALL_SETUP",
    "Source",
    "episode_random",
    "episode_steps",
    "setups_for",
]

EPISODE_STEPS = 80
"""How many steps an episode has, without margin and custody."""
_LONG_EPISODE_STEPS = 160
_ENDOWMENT = 20_000
"""What everybody has of everything in the beginning."""
_RETRIES_KEPT = 40
_NESTED_MAX = 2
REPEATED = (
    PlaceOrder,
    CreditDeposit,
    RequestWithdrawal,
    TransferMargin,
    Borrow,
    Repay,
    GrantPromotion,
    FundHouse,
    AccrueInterest,
    SettleFunding,
    ReportDeposit,
    CommitNonce,
    SubmitShare,
    SweepFunds,
    CoverShortfall,
)
"""Commands that carry an id or a period of their own, and that whoever heard nothing gives again."""

Drawn = Step | Moves | None


class Source(Keeping):
    """Steps for one episode, drawn from a random number generator and narrowed to an engine's capabilities."""

    def __init__(self, random: Random, setup: Setup, capabilities: frozenset[Capability]) -> None:
        super().__init__(random, setup, capabilities)
        self._moves: list[Moves] = [self._begin()]
        self._begun = self._killed = False
        self._given: list[Command] = []
        weighted = [
            (kind, weight)
            for kind, weight, possible in (*self._plain(), *self._operated(), *self._risky(), *self._kept())
            if possible
        ]
        self._kinds: list[Callable[[], Drawn]] = [kind for kind, _ in weighted]
        self._weights = list(accumulate(weight for _, weight in weighted))

    def _plain(self) -> list[tuple[Callable[[], Drawn], int, bool]]:
        """What there is to draw in every setup: kind, weight, and whether the engine can do it."""
        can = self.can
        return [
            (self.place, 40, True),
            (self.wrong, 2, True),
            (self.cancel, 10, True),
            (self.amend, 8, can(Capability.AMEND)),
            (self._retry, 5, True),
            (self.fund, 2 if self.keeps else 8, can(Capability.FUNDS)),
            (self.settle_twice, 1, can(Capability.FUNDS) and not self.keeps),
            (self._burst, 4, can(Capability.INGRESS)),
            (TakeSnapshot, 4, can(Capability.SNAPSHOT)),
            (RestoreSnapshot, 3, can(Capability.SNAPSHOT)),
            (self._crash, 4, can(Capability.RESTART)),
            (self._maintain, 2, can(Capability.PHASES)),
            (self._halt, 2, can(Capability.PHASES)),
            (self._auction, 8 if self.setup.auctions else 2, can(Capability.AUCTION, Capability.PHASES)),
            (self.cancel_all, 2, can(Capability.CANCEL_ALL)),
            (self.disconnect, 3, can(Capability.CANCEL_ON_DISCONNECT)),
            (self.paired, 3, can(Capability.STOP_ORDERS, Capability.ONE_CANCELS_OTHER)),
            (self.sweep, 3, can(Capability.MARKET_ORDERS) and bool(self.protected())),
            (self._expire, 2, can(Capability.GOOD_TILL_TIME)),
            (self.advance_time, 4, self.tells_time),
            (self.protect, 2, can(Capability.PRODUCT_HALTS)),
        ]

    def _operated(self) -> list[tuple[Callable[[], Drawn], int, bool]]:
        """What there is to draw of operations: much of it where the setup has a procedure, else little."""
        can = self.can
        much = self.setup.procedure
        replicas = can(Capability.REPLICAS) and len(self.setup.replicas) > 1
        procedure = can(Capability.PROCEDURE, Capability.PHASES)
        return [
            (self.fail_over, 4 if much else 3, replicas),
            (self.isolate, 3 if much else 1, replicas),
            (self.strand, 2 if much else 1, replicas),
            (self.lag, 3 if much else 1, replicas),
            (self.persist, 2 if much else 1, replicas and can(Capability.RESEND)),
            (self.ask_replica, 4 if much else 2, replicas),
            (self.read, 3, can(Capability.READS)),
            (self.surge, 4 if much else 2, can(Capability.INGRESS)),
            (self.hurry, 2, bool(self.setup.rate_max) and self.tells_time),
            (self.force_cancels, 2 if much else 1, procedure),
            (self.upgrade, 4, procedure and much),
            (self.reload, 2, procedure and much),
            (ConfirmLoad, 4, procedure and much),
        ]

    def _risky(self) -> list[tuple[Callable[[], Drawn], int, bool]]:
        """What there is to draw besides, where the setup has marks, margin or promotions."""
        margin = self.setup.margin is not None and self.can(Capability.MARGIN)
        marks = bool(self.marked()) and self.can(Capability.MARKS)
        loans = margin and self.setup.margin is not None and bool(self.setup.margin.credit)
        granted = bool(self.setup.promotion_max)
        return [
            (self.tick, 6, marks),
            (self.report, 4, marks),
            (self.fresh, 5, marks),
            (self.flicker, 1, marks),
            (self.collapse, 1, marks),
            (self.transfer, 6, margin),
            (self.funding, 4, margin),
            (self.close_out, 8, margin),
            (self.squeeze, 6, margin),
            (self.borrow, 5, loans),
            (self.repay, 4, loans),
            (self.interest, 3, loans),
            (self.default, 4, loans),
            (self.liquidate, 3, margin and self.can(Capability.LIQUIDATION)),
            (self.grant, 4, granted),
            (self.pay_house, 2, granted or loans),
        ]

    def _kept(self) -> list[tuple[Callable[[], Drawn], int, bool]]:
        """What there is to draw besides, where the setup has custody."""
        keeps = self.keeps
        return [
            (self.block, 6, keeps),
            (self.arrive, 5, keeps),
            (self.reorganise, 1, keeps),
            (self.outage, 2, keeps),
            (self.suspend, 2, keeps),
            (self.withdraw, 14, keeps),
            (self.approve, 2, keeps),
            (self.pay_on, 5, keeps),
            (self.shift, 4, keeps),
            (self.attest, 1, keeps),
            (self.reconcile, 1, keeps),
            (self.publish, 3, keeps),
            (self.wrong_in_custody, 6, keeps),
        ]

    def next(self, told: Told, known: Known | None = None) -> Step:
        """The next step, in view of what the exchange has told."""
        self.told = told
        self.known = self.known if known is None else known
        step = self._next()
        self._killed = isinstance(step, Crash) and step.replica is None
        if isinstance(step, REPEATED):
            self._given.append(step)
            del self._given[:-_RETRIES_KEPT]
        return step

    def _next(self) -> Step:
        while True:
            if self._moves and (self._killed or not self._begun or not self.chance(0.12)):
                step = next(self._moves[-1], None)
                if step is not None:
                    return step
                self._moves.pop()
                continue
            drawn = self._draw()
            if isinstance(drawn, Iterator):
                if len(self._moves) <= _NESTED_MAX:
                    self._moves.append(drawn)
            elif drawn is not None:
                return drawn

    def _draw(self) -> Drawn:
        """Something by weight; first of all what is closed is mostly opened again."""
        if not self._moves and self.told.phase is not Phase.OPEN and self.chance(0.5):
            return self.reopen()
        if not self._moves and self.broken() and self.chance(0.5):
            return self.mend()
        stages = self.known.stages.values()
        if not self._moves and any(stage is not Stage.OPEN for stage in stages) and self.chance(0.5):
            return self.resume()
        kind: Callable[[], Drawn] = self.random.choices(self._kinds, cum_weights=self._weights)[0]
        return kind()

    def _begin(self) -> Moves:
        """Everybody has money, house accounts are funded, prices are there, and the venue is open."""
        if self.keeps:
            yield from self.endow(_ENDOWMENT)
        elif self.can(Capability.FUNDS):
            for client in self.setup.clients:
                for asset in self.setup.assets:
                    yield self.deposit(client, asset, _ENDOWMENT)
        if self.setup.margin is not None and self.can(Capability.MARGIN):
            yield from self.prelude()
        self._begun = True
        if self.setup.auctions:
            yield from self._auction()

    # Commands -----------------------------------------------------------------------------------------------------

    def _retry(self) -> Command | None:
        """A command that was given before, of any kind that was, so that orders do not outnumber all others."""
        if not self._given:
            return None
        kind = self.one(list(dict.fromkeys(command.__class__ for command in self._given)))
        return self.one([command for command in self._given if command.__class__ is kind])

    def _burst(self) -> Burst:
        commands: list[Command] = []
        for _ in range(self.random.randint(2, 2 * self.setup.ingress_capacity)):
            cancel = self.cancel() if self.chance(0.33) else None
            commands.append(cancel or self.place())
        return Burst(commands=tuple(commands))

    def in_flight(self) -> Command | None:
        """A command whose outcome nobody will be told."""
        kinds: list[Callable[[], Command | None]] = [self.place, self.place, self.cancel]
        kinds += [self.cancel_all] * self.can(Capability.CANCEL_ALL)
        kinds += [self.advance_time] * self.tells_time
        if self.setup.margin is not None and self.can(Capability.MARGIN):
            kinds += [self.transfer, self.report]
        if self.keeps:
            kinds += [self.custody_in_flight] * 4
        return self.one(kinds)()

    # Operations ---------------------------------------------------------------------------------------------------

    def _crash(self) -> Moves:
        flying = self.in_flight() if self.can(Capability.RESEND) and self.chance(0.5) else None
        yield Crash(in_flight=flying, point=self.one(list(CrashPoint)))
        yield Restart()

    def _expire(self) -> Moves:
        """An order whose time is up while the engine is down, or while the venue is in maintenance."""
        plain = replace(self.place(), time_in_force=TimeInForce.GTT, post_only=False)
        market = self.told.markets[plain.market]
        expires = self.known.time_ms + 1_000
        yield replace(
            plain, price_ticks=plain.price_ticks or self.price(market), conditions=Conditions(expires_ms=expires)
        )
        if self.can(Capability.RESTART) and self.chance(0.6):
            if self.can(Capability.SNAPSHOT) and self.chance(0.7):
                yield TakeSnapshot()
            yield from self._crash()
            yield self.later(1_500)
        elif self.can(Capability.PHASES):
            yield SetPhase(phase=Phase.CANCEL_ONLY)
            yield from self.begin_maintenance()
            yield self.later(1_500)
            yield from self.reopen()

    def _maintain(self) -> Moves:
        """Maintenance from the announcement to the reopening, with what is done in between left to chance."""
        if self.can(Capability.STOP_ORDERS) and self.chance(0.4):
            yield self.stop(self.place(), self.one(self.setup.markets))
        yield SetPhase(phase=Phase.CANCEL_ONLY)
        yield from self.begin_maintenance()
        inside: list[Step] = []
        if self.can(Capability.SNAPSHOT):
            inside += [TakeSnapshot(), RestoreSnapshot()]
        if self.can(Capability.FUNDS) and self.told.withdrawals:
            owner, withdrawal = self.one(list(self.told.withdrawals))
            inside.append(PayWithdrawal(client=owner, withdrawal=withdrawal))
        inside.append(self.place())
        if self.tells_time and self.chance(0.4):
            inside.append(self.advance_time())
        for step in inside:
            if self.chance(0.7):
                yield step
        if self.can(Capability.MARKS) and self.marked() and self.chance(0.4):
            yield from self.tick()
        if self.can(Capability.RESTART) and self.chance(0.2):
            yield from self._crash()
        if self.can(Capability.PROCEDURE) and self.chance(0.3):
            yield from self.release()
        yield from self.reopen()

    def _halt(self) -> Moves:
        """A halt, in which prices may pass the triggers of waiting stops, and come back."""
        yield SetPhase(phase=Phase.HALTED)
        yield self.place()
        if self.can(Capability.MARKS) and self.marked() and self.chance(0.5):
            yield from self.tick()
        yield from self.reopen()

    def reopen(self) -> Moves:
        """One phase after the other until the venue is open; a book that is crossed needs an auction.

        Opening is tried now and then without the auction, or the post-only phase, that it has to go through.
        """
        for _ in range(10):
            before = self.told.phase
            match before:
                case Phase.OPEN:
                    return
                case Phase.HALTED:
                    if self.keeps and self.chance(0.9):
                        yield from self.heal()
                    after = Phase.CANCEL_ONLY
                case Phase.MAINTENANCE:
                    yield from self.confirm()
                    if self.keeps and self.chance(0.9):
                        yield self.reconcile()
                    after = Phase.OPEN if self.chance(0.1) else Phase.POST_ONLY
                case Phase.AUCTION:
                    after = Phase.OPEN
                case Phase.CLOSED:
                    after = Phase.AUCTION
                case _:
                    through = self.can(Capability.AUCTION) and self.chance(0.6 if self.setup.auctions else 0.25)
                    direct = Phase.POST_ONLY if before is Phase.CANCEL_ONLY else Phase.OPEN
                    after = Phase.AUCTION if through else direct
            yield SetPhase(phase=after)
            if self.known.refusal in {Reason.NOT_LOADED, Reason.NOT_RECONCILED} and before is self.told.phase:
                yield from self.discharge()
            if self.chance(0.4):
                yield self.place()

    def _auction(self) -> Moves:
        """A call auction: orders that cross, a storm of cancels, perhaps called off, and uncrossed in the end."""
        if self.told.phase is not Phase.AUCTION:
            yield SetPhase(phase=Phase.AUCTION)
        orders: list[PlaceOrder] = []
        for _ in range(self.random.randint(2, 9)):
            orders.append(self._crossing())
            yield orders[-1]
        if self.can(Capability.INGRESS) and self.chance(0.4):
            cancels = [CancelOrder(client=order.client, order=order.order) for order in orders]
            yield Burst(commands=tuple(self.random.sample(cancels, min(len(cancels), 4))))
        if self.can(Capability.RESTART) and self.chance(0.15):
            yield from self._crash()
        if self.can(Capability.PRODUCT_HALTS) and self.chance(0.1):
            yield HaltProduct(product=SPOT, cause="validation loops")
            yield SetPhase(phase=Phase.OPEN)
            yield from self.resume()
        ending = self.one((Phase.OPEN, Phase.OPEN, Phase.OPEN, Phase.CLOSED, Phase.CANCEL_ONLY, Phase.HALTED))
        yield SetPhase(phase=ending)
        if ending is not Phase.OPEN:
            yield SetPhase(phase=self.one((Phase.POST_ONLY, Phase.CANCEL_ONLY, Phase.AUCTION)))
        yield from self.reopen()

    def _crossing(self) -> PlaceOrder:
        """An order for an auction: buys above the middle, sells below it."""
        order = self.place()
        market = self.told.markets[order.market]
        scale = max(1, self.middle(market) // PRICE_MIDDLE)
        away = scale * self.random.randint(-1, PRICE_SPREAD) * (1 if order.side is Side.BUY else -1)
        if self.chance(0.2):
            return order
        return replace(
            order,
            price_ticks=PriceTicks(max(1, self.middle(market) + away)),
            time_in_force=TimeInForce.GTC,
            post_only=False,
            conditions=None,
        )


def episode_steps(setup: Setup) -> int:
    """How many steps an episode of a setup has: with margin or custody it takes longer until something happens."""
    return EPISODE_STEPS if setup.margin is None and setup.custody is None else _LONG_EPISODE_STEPS


def episode_random(seed: int, number: int) -> Random:
    """The random numbers of one episode: they depend on seed and number alone."""
    return Random(f"holdfast {seed} {number}")  # noqa: S311 - reproducible, not secret
