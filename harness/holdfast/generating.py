"""Generating sequences: a seeded source of steps that mixes trading and funds with maintenance, crashes and surges.

One seed gives one sequence on any machine: a longer run begins with the shorter one. The source looks at what the
exchange has told so far, so that most of what it does makes sense, and some of it is wrong on purpose.
"""

from collections import deque
from collections.abc import Callable
from random import Random

from holdfast_invariants.told import Told, ToldOrder
from holdfast_model.vocabulary import (
    AmendOrder,
    Amount,
    Bucket,
    Burst,
    CancelOrder,
    Capability,
    Command,
    Crash,
    CrashPoint,
    CreditDeposit,
    Market,
    PauseStandby,
    PayWithdrawal,
    Phase,
    PlaceOrder,
    PriceTicks,
    PromoteStandby,
    RefundWithdrawal,
    RequestWithdrawal,
    Restart,
    RestoreSnapshot,
    ResumeStandby,
    SelfTrade,
    SetPhase,
    Setup,
    Side,
    SizeLots,
    Step,
    TakeSnapshot,
    TimeInForce,
    WithdrawalStatus,
)

SMALL_SETUP = Setup(
    assets=("BTC", "USD"),
    markets=(
        Market(
            market="BTC-USD",
            base="BTC",
            quote="USD",
            lot_amount=Amount(10),
            tick_amount=Amount(1),
            maker_fee_ppm=1_000,
            taker_fee_ppm=2_500,
        ),
    ),
    clients=("alice", "bob", "carol"),
    ingress_capacity=4,
)
"""Three clients, one market, fees that leave a remainder, a door for four commands: small, so that things meet."""

EPISODE_STEPS = 80
_PRICE_MIDDLE, _PRICE_SPREAD = 100, 4
_RETRIES_KEPT = 40
SELF_TRADE_NEEDS = {
    SelfTrade.CANCEL_NEWEST: Capability.STP_CANCEL_NEWEST,
    SelfTrade.CANCEL_OLDEST: Capability.STP_CANCEL_OLDEST,
    SelfTrade.CANCEL_BOTH: Capability.STP_CANCEL_BOTH,
    SelfTrade.DECREMENT: Capability.STP_DECREMENT,
}


class Source:
    """Steps for one episode, drawn from a random number generator and narrowed to an engine's capabilities."""

    def __init__(self, random: Random, setup: Setup, capabilities: frozenset[Capability]) -> None:
        self._random = random
        self._setup = setup
        self._can = capabilities
        self._pending: deque[Step] = deque()
        self._given: list[Command] = []
        self._numbers: dict[str, int] = {}
        self._self_trades = [mode for mode, needs in SELF_TRADE_NEEDS.items() if needs in capabilities]
        self._kinds = self._weighted()
        if Capability.FUNDS in capabilities:
            self._pending.extend(
                self._deposit(client, asset, 20_000) for client in setup.clients for asset in setup.assets
            )

    def _weighted(self) -> list[tuple[Callable[[Told], Step | None], int]]:
        able = self._can.__contains__
        kinds: list[tuple[Callable[[Told], Step | None], int, bool]] = [
            (self._place, 40, True),
            (self._cancel, 10, True),
            (self._amend, 8, able(Capability.AMEND)),
            (self._retry, 5, True),
            (self._fund, 8, able(Capability.FUNDS)),
            (self._burst, 4, able(Capability.INGRESS)),
            (lambda _: TakeSnapshot(), 4, able(Capability.SNAPSHOT)),
            (lambda _: RestoreSnapshot(), 3, able(Capability.SNAPSHOT)),
            (self._crash, 4, able(Capability.RESTART)),
            (self._maintain, 2, able(Capability.PHASES)),
            (self._halt, 2, able(Capability.PHASES)),
            (self._fail_over, 3, able(Capability.STANDBY)),
        ]
        return [(kind, weight) for kind, weight, possible in kinds if possible]

    def next(self, told: Told) -> Step:
        """The next step, in view of what the exchange has told."""
        while True:
            if self._pending:
                step = self._pending.popleft()
            else:
                kinds, weights = zip(*self._kinds, strict=True)
                chosen: Step | None = self._random.choices(kinds, weights)[0](told)
                if chosen is None:
                    continue
                step = chosen
            if isinstance(step, PlaceOrder | CreditDeposit | RequestWithdrawal):
                self._given.append(step)
                del self._given[:-_RETRIES_KEPT]
            return step

    # Trading ------------------------------------------------------------------------------------------------------

    def _number(self, kind: str) -> str:
        self._numbers[kind] = self._numbers.get(kind, 0) + 1
        return f"{kind}{self._numbers[kind]}"

    def _price(self) -> PriceTicks:
        offset = self._random.randint(-_PRICE_SPREAD, _PRICE_SPREAD)
        return PriceTicks(_PRICE_MIDDLE + offset)

    def _place(self, told: Told) -> PlaceOrder:  # noqa: ARG002 - all kinds are called alike
        random = self._random
        market_order = Capability.MARKET_ORDERS in self._can and random.random() < 0.08  # noqa: PLR2004 - a weight
        lives = [TimeInForce.GTC] * 8
        if not market_order:
            lives += [TimeInForce.IOC] * (Capability.IOC in self._can)
            lives += [TimeInForce.FOK] * (Capability.FOK in self._can)
        life = random.choice(lives)
        resting = not market_order and life is TimeInForce.GTC and Capability.POST_ONLY in self._can
        return PlaceOrder(
            client=random.choice(self._setup.clients),
            order=self._number("o"),
            market=random.choice(self._setup.markets).market,
            side=random.choice((Side.BUY, Side.SELL)),
            size_lots=SizeLots(random.randint(1, 9)),
            price_ticks=None if market_order else self._price(),
            time_in_force=life,
            post_only=resting and random.random() < 0.12,  # noqa: PLR2004 - a weight
            self_trade=random.choice(self._self_trades) if self._self_trades else SelfTrade.CANCEL_NEWEST,
        )

    def _some_order(self, told: Told) -> ToldOrder | None:
        """Mostly an open order; sometimes any order that there ever was."""
        if told.resting and self._random.random() < 0.85:  # noqa: PLR2004 - a weight
            return self._random.choice(list(told.resting.values()))
        return self._random.choice(list(told.orders.values())) if told.orders else None

    def _cancel(self, told: Told) -> CancelOrder | None:
        order = self._some_order(told)
        return CancelOrder(client=order.client, order=order.order) if order else None

    def _amend(self, told: Told) -> AmendOrder | None:
        order = self._some_order(told)
        if order is None:
            return None
        same_price = order.price_ticks is not None and self._random.random() < 0.6  # noqa: PLR2004 - a weight
        return AmendOrder(
            client=order.client,
            order=order.order,
            size_lots=SizeLots(max(1, order.size_lots + self._random.randint(-3, 3))),
            price_ticks=order.price_ticks if same_price and order.price_ticks is not None else self._price(),
        )

    def _retry(self, told: Told) -> Command | None:  # noqa: ARG002 - all kinds are called alike
        return self._random.choice(self._given) if self._given else None

    # Funds --------------------------------------------------------------------------------------------------------

    def _deposit(self, client: str, asset: str, amount: int) -> CreditDeposit:
        return CreditDeposit(client=client, asset=asset, amount=Amount(amount), transaction=self._number("t"))

    def _fund(self, told: Told) -> Command:
        random = self._random
        client, asset = random.choice(self._setup.clients), random.choice(self._setup.assets)
        settled = random.random()
        if settled < 0.2:  # noqa: PLR2004 - a weight
            return self._deposit(client, asset, random.randint(1, 500))
        if settled < 0.55 or not told.withdrawals:  # noqa: PLR2004 - a weight
            amount = random.choice((random.randint(1, 500), self._about_all(told, client, asset)))
            return RequestWithdrawal(client=client, withdrawal=self._number("w"), asset=asset, amount=Amount(amount))
        open_ones = [key for key, item in told.withdrawals.items() if item.status is WithdrawalStatus.REQUESTED]
        keys = open_ones if open_ones and random.random() < 0.7 else list(told.withdrawals)  # noqa: PLR2004 - a weight
        owner, withdrawal = random.choice(keys)
        settle = random.choice((PayWithdrawal, RefundWithdrawal))
        return settle(client=owner, withdrawal=withdrawal)

    def _about_all(self, told: Told, client: str, asset: str) -> int:
        """All that a client has free, and perhaps some of what is held for its orders."""
        free, held = (told.amounts.get((client, bucket, asset), 0) for bucket in (Bucket.FREE, Bucket.HELD))
        return max(1, free + self._random.randint(0, max(0, held)))

    # Operations ---------------------------------------------------------------------------------------------------

    def _burst(self, told: Told) -> Burst:
        count = self._random.randint(2, 2 * self._setup.ingress_capacity)
        commands: list[Command] = []
        for _ in range(count):
            wanted: Command | None = self._random.choice((self._place, self._place, self._cancel))(told)
            commands.append(wanted if wanted is not None else self._place(told))
        return Burst(commands=tuple(commands))

    def _crash(self, told: Told) -> Crash:
        self._pending.append(Restart())
        in_flight: Command | None = None
        if Capability.RESEND in self._can and self._random.random() < 0.5:  # noqa: PLR2004 - a weight
            in_flight = self._random.choice((self._place, self._cancel))(told)
        return Crash(in_flight=in_flight, point=self._random.choice(list(CrashPoint)))

    def _maintain(self, told: Told) -> Step:
        """Maintenance from the announcement to the reopening, with what is done in between left to chance."""
        inside: list[Step] = []
        if Capability.SNAPSHOT in self._can:
            inside += [TakeSnapshot(), RestoreSnapshot()]
        if Capability.FUNDS in self._can and told.withdrawals:
            owner, withdrawal = self._random.choice(list(told.withdrawals))
            inside.append(PayWithdrawal(client=owner, withdrawal=withdrawal))
        inside.append(self._place(told))
        inside = [step for step in inside if self._random.random() < 0.7]  # noqa: PLR2004 - a weight
        self._pending.extend(
            (
                SetPhase(phase=Phase.MAINTENANCE),
                *inside,
                SetPhase(phase=Phase.POST_ONLY),
                self._place(told),
                SetPhase(phase=Phase.OPEN),
            )
        )
        return SetPhase(phase=Phase.CANCEL_ONLY)

    def _halt(self, told: Told) -> Step:
        self._pending.extend(
            (
                self._place(told),
                SetPhase(phase=Phase.CANCEL_ONLY),
                SetPhase(phase=Phase.POST_ONLY),
                SetPhase(phase=Phase.OPEN),
            )
        )
        return SetPhase(phase=Phase.HALTED)

    def _fail_over(self, told: Told) -> Step:
        """A failover: of a standby that has everything, or of one that lags behind."""
        if self._random.random() < 0.5:  # noqa: PLR2004 - a weight
            return PromoteStandby()
        self._pending.extend((self._place(told), PromoteStandby(), ResumeStandby()))
        return PauseStandby()


def episode_random(seed: int, number: int) -> Random:
    """The random numbers of one episode: they depend on seed and number alone."""
    return Random(f"holdfast {seed} {number}")  # noqa: S311 - reproducible, not secret
