"""The machine that a user of Hypothesis writes first: one rule for each kind of command, each argument drawn alone.

It is what Holdfast's machines are measured against, and nothing else. It remembers the ids that it gave, in bundles,
and the clock and the chains, which are its own; it never looks at what the exchange told. It begins as any test does,
with money and prices, and it has what an outside party has: the software of custody's signers. After every step
every invariant is checked, as in Holdfast's machines, and last all must come to rest.
"""

from collections.abc import Callable
from typing import ClassVar, TypeVar

from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, initialize, precondition, rule

from holdfast.engine import Engine, LocalEngine
from holdfast.machines import InvariantViolatedError
from holdfast.running import Runner
from holdfast.setups import SMALL_SETUP
from holdfast_invariants.told import OrderKey
from holdfast_model.vocabulary import (
    FUNDED_ACCOUNTS,
    SPOT,
    AccrueInterest,
    ActivateRelease,
    AdvanceTime,
    AmendOrder,
    Amount,
    AnnounceMaintenance,
    AskReplica,
    Borrow,
    Burst,
    CancelAll,
    CancelAllOrders,
    CancelOrder,
    ComeToRest,
    Conditions,
    ConfirmLoad,
    Crash,
    CrashPoint,
    CreditDeposit,
    DeployRelease,
    DisconnectClient,
    FundHouse,
    GrantPromotion,
    HaltProduct,
    HealReplica,
    KillReplica,
    Liquidate,
    Market,
    PartitionReplica,
    PauseReplica,
    PayWithdrawal,
    Phase,
    PlaceOrder,
    PriceTicks,
    PromoteReplica,
    ReadAccount,
    RefundWithdrawal,
    Repay,
    ReportBlock,
    ReportDeposit,
    ReportPrice,
    RequestWithdrawal,
    Restart,
    RestoreSnapshot,
    ResumeReplica,
    ResumeStage,
    SelfTrade,
    SetPhase,
    SettleFunding,
    Setup,
    Side,
    SizeLots,
    Stage,
    StartReplica,
    Step,
    TakeSnapshot,
    TimeInForce,
    TransferMargin,
    Trigger,
    TriggerBy,
    TriggerWhen,
)

T = TypeVar("T")

_REFERENCE = 100
"""The price around which orders lie in a market that names none."""
_BEGIN = 20_000
"""What every client has of every asset in the beginning, where it is simply credited."""
_BEGIN_IN_CUSTODY = 1_000
"""And where it comes over a chain, so that what tiers may hold is not used up."""

_REPLICA_COMMANDS = (
    PauseReplica,
    ResumeReplica,
    PartitionReplica,
    HealReplica,
    KillReplica,
    StartReplica,
    PromoteReplica,
)

# Each is taken modulo what there is in the setup; 60 is a multiple of what setups have of most things.
ONE = st.integers(0, 59)
IDS = st.integers(1, 40)
AMOUNTS = st.sampled_from((1, 10, 60, 300, 1_000, 5_000, 19_000))
_percents = st.integers(-4, 4)
_sizes = st.integers(1, 9)
_milliseconds = st.sampled_from((0, 1, 500, 30_000, 61_000))
_periods = st.integers(1, 4)
Drawn = tuple[int, int, int, Side, int, int]
"""Client, id, market, side, size and price of a limit order, as they are drawn."""
_orders = st.tuples(ONE, IDS, ONE, st.sampled_from(Side), _sizes, _percents)


def where(has: Callable[[Setup], bool]) -> Callable[[Callable[..., T]], Callable[..., T]]:
    """Let a rule run only while the exchange is up and where the setup has what it is about."""
    return precondition(lambda machine: not machine.runner.down and has(machine.setup))


anywhere = where(lambda _: True)
_margin = where(lambda setup: setup.margin is not None)
_marked = where(lambda setup: any(market.mark is not None for market in setup.markets))
_procedure = where(lambda setup: setup.procedure)


class PlainMachine(RuleBasedStateMachine):
    """Drives one exchange by independent commands; after every step every invariant is checked."""

    make_engine: ClassVar[Callable[[], Engine]] = LocalEngine
    setup: ClassVar[Setup] = SMALL_SETUP

    orders: Bundle[OrderKey] = Bundle("orders")
    withdrawals: Bundle[tuple[str, str]] = Bundle("withdrawals")

    def __init__(self) -> None:
        super().__init__()
        self.runner = Runner(type(self).make_engine(), self.setup)
        self.time_ms = 0
        self.heights = dict.fromkeys(self.setup.assets, 0)

    def teardown(self) -> None:
        """All comes to rest, and the engine of this example ends."""
        try:
            if not self.runner.violations:
                self.do(ComeToRest())
        finally:
            self.runner.engine.close()

    def do(self, step: Step) -> None:
        """Take a step."""
        self.take(step)

    def take(self, step: Step) -> None:
        """Let the exchange take a step. Raises `InvariantViolatedError` when something new is wrong."""
        known = len(self.runner.violations)
        self.runner.do(step)
        new = self.runner.violations[known:]
        if new:
            raise InvariantViolatedError(new)

    @initialize()
    def begin(self) -> None:
        """Everybody has money, and every price is there."""
        for asset in self.setup.assets:
            for client in self.setup.clients:
                name = f"begin-{client}-{asset}"
                if self.setup.custody is None:
                    self.do(CreditDeposit(client=client, asset=asset, amount=Amount(_BEGIN), transaction=name))
                else:
                    self._mine(asset, 1)
                    self._report_deposit(client, asset, _BEGIN_IN_CUSTODY, name)
            if self.setup.custody is not None:
                self._mine(asset, max(chain.confirmations for chain in self.setup.custody.chains))
        for market in self.setup.markets:
            for source in market.mark.sources if market.mark is not None else ():
                self._report_price(source, market, 0)

    # Names and amounts of the setup, by a drawn number --------------------------------------------------------------

    def _client(self, number: int) -> str:
        return self.setup.clients[number % len(self.setup.clients)]

    def _asset(self, number: int) -> str:
        return self.setup.assets[number % len(self.setup.assets)]

    def _market(self, number: int) -> Market:
        return self.setup.markets[number % len(self.setup.markets)]

    def _product(self, number: int) -> str:
        names = (SPOT, *(product.product for product in self.setup.products))
        return names[number % len(names)]

    def _replica(self, number: int) -> str:
        return self.setup.replicas[number % len(self.setup.replicas)]

    def _release(self, number: int) -> str:
        return self.setup.releases[number % len(self.setup.releases)].release

    def _price(self, market: Market, percent: int) -> PriceTicks:
        return PriceTicks((market.reference_ticks or _REFERENCE) * (100 + percent) // 100)

    def _limit(self, drawn: Drawn) -> PlaceOrder:
        client, number, market, side, size, percent = drawn
        where = self._market(market)
        return PlaceOrder(
            client=self._client(client),
            order=f"o{number}",
            market=where.market,
            side=side,
            size_lots=SizeLots(size),
            price_ticks=self._price(where, percent),
        )

    def _mine(self, asset: str, blocks: int) -> None:
        self.heights[asset] += blocks
        self.do(ReportBlock(asset=asset, height=self.heights[asset]))

    def _report_deposit(self, client: str, asset: str, amount: int, name: str) -> None:
        self.do(
            ReportDeposit(
                asset=asset, transaction=name, client=client, amount=Amount(amount), height=self.heights[asset]
            )
        )

    def _report_price(self, source: str, market: Market, percent: int) -> None:
        price = self._price(market, percent)
        self.do(ReportPrice(source=source, market=market.market, price_ticks=price, time_ms=self.time_ms))

    # Trading --------------------------------------------------------------------------------------------------------

    @anywhere
    @rule(
        target=orders,
        client=ONE,
        number=IDS,
        market=ONE,
        side=st.sampled_from(Side),
        size=_sizes,
        percent=st.none() | _percents,
        life=st.sampled_from(TimeInForce),
        post_only=st.booleans(),
        self_trade=st.sampled_from(SelfTrade),
        conditions=st.none()
        | st.builds(
            Conditions,
            trigger=st.none()
            | st.builds(
                Trigger,
                by=st.sampled_from(TriggerBy),
                when=st.sampled_from(TriggerWhen),
                price_ticks=st.integers(96, 104).map(PriceTicks),
            ),
            reduce_only=st.booleans(),
            expires_ms=st.none() | st.integers(1, 61_000),
            one_cancels_other=st.none() | IDS.map("o{}".format),
            cancel_on_disconnect=st.booleans(),
        ),
    )
    def place(
        self,
        *,
        client: int,
        number: int,
        market: int,
        side: Side,
        size: int,
        percent: int | None,
        life: TimeInForce,
        post_only: bool,
        self_trade: SelfTrade,
        conditions: Conditions | None,
    ) -> OrderKey:
        """An order with any of its fields."""
        where = self._market(market)
        order = PlaceOrder(
            client=self._client(client),
            order=f"o{number}",
            market=where.market,
            side=side,
            size_lots=SizeLots(size),
            price_ticks=None if percent is None else self._price(where, percent),
            time_in_force=life,
            post_only=post_only,
            self_trade=self_trade,
            conditions=conditions,
        )
        self.do(order)
        return order.client, order.order

    @anywhere
    @rule(target=orders, drawn=_orders)
    def place_limit(self, drawn: Drawn) -> OrderKey:
        """A limit order, the kind that a user writes before all others."""
        order = self._limit(drawn)
        self.do(order)
        return order.client, order.order

    @anywhere
    @rule(order=orders)
    def cancel(self, order: OrderKey) -> None:
        """An order is cancelled."""
        self.do(CancelOrder(client=order[0], order=order[1]))

    @anywhere
    @rule(order=orders, market=ONE, size=_sizes, percent=_percents)
    def amend(self, order: OrderKey, market: int, size: int, percent: int) -> None:
        """An order is amended."""
        price = self._price(self._market(market), percent)
        self.do(AmendOrder(client=order[0], order=order[1], size_lots=SizeLots(size), price_ticks=price))

    @anywhere
    @rule(client=ONE)
    def cancel_all(self, client: int) -> None:
        """A client cancels all that it has."""
        self.do(CancelAll(client=self._client(client)))

    @anywhere
    @rule(client=ONE)
    def disconnect(self, client: int) -> None:
        """A client's session is lost."""
        self.do(DisconnectClient(client=self._client(client)))

    @anywhere
    @rule(milliseconds=_milliseconds)
    def advance_time(self, milliseconds: int) -> None:
        """Time goes on."""
        self.time_ms += milliseconds
        self.do(AdvanceTime(time_ms=self.time_ms))

    @anywhere
    @rule(orders=st.lists(_orders, min_size=1, max_size=8))
    def burst(self, orders: list[Drawn]) -> None:
        """Orders that arrive together."""
        self.do(Burst(commands=tuple(self._limit(order) for order in orders)))

    # Funds ----------------------------------------------------------------------------------------------------------

    @where(lambda setup: setup.custody is None)
    @rule(client=ONE, asset=ONE, amount=AMOUNTS, number=IDS)
    def deposit(self, client: int, asset: int, amount: int, number: int) -> None:
        """A deposit is credited."""
        client_name, asset_name = self._client(client), self._asset(asset)
        self.do(CreditDeposit(client=client_name, asset=asset_name, amount=Amount(amount), transaction=f"t{number}"))

    @anywhere
    @rule(target=withdrawals, client=ONE, number=IDS, asset=ONE, amount=AMOUNTS)
    def withdraw(self, client: int, number: int, asset: int, amount: int) -> tuple[str, str]:
        """A client asks for its money."""
        owner, name = self._client(client), f"w{number}"
        asset_name = self._asset(asset)
        self.do(
            RequestWithdrawal(
                client=owner, withdrawal=name, asset=asset_name, amount=Amount(amount), destination="home"
            )
        )
        return owner, name

    @where(lambda setup: setup.custody is None)
    @rule(withdrawal=withdrawals)
    def pay(self, withdrawal: tuple[str, str]) -> None:
        """A withdrawal is paid."""
        self.do(PayWithdrawal(client=withdrawal[0], withdrawal=withdrawal[1]))

    @anywhere
    @rule(withdrawal=withdrawals)
    def refund(self, withdrawal: tuple[str, str]) -> None:
        """A withdrawal is refunded."""
        self.do(RefundWithdrawal(client=withdrawal[0], withdrawal=withdrawal[1]))

    @where(lambda setup: setup.margin is not None or setup.custody is not None)
    @rule(account=st.sampled_from(FUNDED_ACCOUNTS), asset=ONE, amount=AMOUNTS, number=IDS)
    def fund_house(self, account: str, asset: int, amount: int, number: int) -> None:
        """The owner pays into a house account."""
        name = self._asset(asset)
        self.do(FundHouse(account=account, asset=name, amount=Amount(amount), transaction=f"h{number}"))

    @where(lambda setup: bool(setup.promotion_max))
    @rule(client=ONE, asset=ONE, amount=AMOUNTS, number=IDS)
    def grant(self, client: int, asset: int, amount: int, number: int) -> None:
        """A client gets a reward."""
        client_name, asset_name = self._client(client), self._asset(asset)
        self.do(GrantPromotion(client=client_name, asset=asset_name, amount=Amount(amount), grant=f"g{number}"))

    # Margin ---------------------------------------------------------------------------------------------------------

    @_marked
    @rule(market=ONE, source=ONE, percent=st.integers(-35, 35))
    def report_price(self, market: int, source: int, percent: int) -> None:
        """A source reports a price."""
        marked = [item for item in self.setup.markets if item.mark is not None]
        chosen = marked[market % len(marked)]
        assert chosen.mark is not None
        self._report_price(chosen.mark.sources[source % len(chosen.mark.sources)], chosen, percent)

    @_margin
    @rule(client=ONE, number=IDS, asset=ONE, amount=AMOUNTS, source=ONE, to=ONE)
    def transfer(self, *, client: int, number: int, asset: int, amount: int, source: int, to: int) -> None:
        """Collateral moves between wallets."""
        self.do(
            TransferMargin(
                client=self._client(client),
                request=f"r{number}",
                asset=self._asset(asset),
                amount=Amount(amount),
                source=self._product(source),
                target=self._product(to),
            )
        )

    @_margin
    @rule(client=ONE, number=IDS, asset=ONE, amount=AMOUNTS)
    def borrow(self, client: int, number: int, asset: int, amount: int) -> None:
        """A client borrows."""
        client_name, asset_name = self._client(client), self._asset(asset)
        self.do(Borrow(client=client_name, request=f"r{number}", asset=asset_name, amount=Amount(amount)))

    @_margin
    @rule(client=ONE, number=IDS, asset=ONE, amount=AMOUNTS)
    def repay(self, client: int, number: int, asset: int, amount: int) -> None:
        """A client pays debt back."""
        client_name, asset_name = self._client(client), self._asset(asset)
        self.do(Repay(client=client_name, request=f"r{number}", asset=asset_name, amount=Amount(amount)))

    @_margin
    @rule(asset=ONE, period=_periods, rate=st.sampled_from((0, 1, 10_000, 100_000)))
    def interest(self, asset: int, period: int, rate: int) -> None:
        """A period's interest."""
        self.do(AccrueInterest(asset=self._asset(asset), period=period, rate_ppm=rate))

    @_margin
    @rule(market=ONE, period=_periods, rate=st.sampled_from((-10_000, -1, 0, 3, 10_000)))
    def funding(self, market: int, period: int, rate: int) -> None:
        """A period's funding."""
        self.do(SettleFunding(market=self._market(market).market, period=period, rate_ppm=rate))

    @_margin
    @rule(client=ONE, product=ONE)
    def liquidate(self, client: int, product: int) -> None:
        """A liquidation is asked for."""
        self.do(Liquidate(client=self._client(client), product=self._product(product)))

    @anywhere
    @rule(product=ONE)
    def halt_product(self, product: int) -> None:
        """A product is halted."""
        self.do(HaltProduct(product=self._product(product), cause="margin is late"))

    @anywhere
    @rule(product=ONE, stage=st.sampled_from(Stage))
    def resume_product(self, product: int, stage: Stage) -> None:
        """A halted product is opened."""
        self.do(ResumeStage(product=self._product(product), stage=stage))

    # Operations -----------------------------------------------------------------------------------------------------

    @anywhere
    @rule(phase=st.sampled_from(Phase))
    def set_phase(self, phase: Phase) -> None:
        """An operator sets a phase."""
        self.do(SetPhase(phase=phase))

    @anywhere
    @rule()
    def snapshot(self) -> None:
        """A snapshot is taken."""
        self.do(TakeSnapshot())

    @anywhere
    @rule()
    def restore(self) -> None:
        """The state is rebuilt."""
        self.do(RestoreSnapshot())

    @anywhere
    @rule(
        in_flight=st.none() | _orders,
        point=st.sampled_from(CrashPoint),
        replica=st.none() | ONE,
    )
    def crash(self, in_flight: Drawn | None, point: CrashPoint, replica: int | None) -> None:
        """The process is killed, or a replica, perhaps with an order in flight."""
        flying = None if in_flight is None else self._limit(in_flight)
        name = None if replica is None else self._replica(replica)
        self.do(Crash(in_flight=flying, point=point, replica=name))

    @precondition(lambda machine: machine.runner.down)
    @rule()
    def restart(self) -> None:
        """The process is started again."""
        self.do(Restart())

    @anywhere
    @rule(command=st.sampled_from(_REPLICA_COMMANDS), replica=ONE)
    def fail_over(self, command: type[PauseReplica], replica: int) -> None:
        """Something is done to a replica, or it is promoted."""
        self.do(command(replica=self._replica(replica)))

    @anywhere
    @rule(replica=ONE, client=ONE)
    def ask_replica(self, replica: int, client: int) -> None:
        """A client reads its balances at a replica."""
        self.do(AskReplica(replica=self._replica(replica), commands=(ReadAccount(client=self._client(client)),)))

    @anywhere
    @rule(replica=ONE, order=_orders)
    def order_at_replica(self, replica: int, order: Drawn) -> None:
        """A client gives an order to a replica."""
        self.do(AskReplica(replica=self._replica(replica), commands=(self._limit(order),)))

    @anywhere
    @rule(client=ONE)
    def read(self, client: int) -> None:
        """A client reads its balances."""
        self.do(ReadAccount(client=self._client(client)))

    @anywhere
    @rule(market=st.none() | ONE)
    def cancel_all_orders(self, market: int | None) -> None:
        """Everybody's orders are cancelled."""
        self.do(CancelAllOrders(market=None if market is None else self._market(market).market))

    @_procedure
    @rule(milliseconds=_milliseconds)
    def announce(self, milliseconds: int) -> None:
        """Maintenance is announced."""
        self.do(AnnounceMaintenance(begins_ms=self.time_ms + milliseconds))

    @_procedure
    @rule(replica=ONE, release=ONE)
    def deploy(self, replica: int, release: int) -> None:
        """A release is installed on a replica."""
        self.do(DeployRelease(replica=self._replica(replica), release=self._release(release)))

    @_procedure
    @rule(release=ONE)
    def activate(self, release: int) -> None:
        """A release is activated."""
        self.do(ActivateRelease(release=self._release(release)))

    @_procedure
    @rule()
    def confirm_load(self) -> None:
        """The load barrier."""
        self.do(ConfirmLoad())
