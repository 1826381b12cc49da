"""What holds after any commands: fees, holds, conservation, and that the events alone rebuild the state."""

from collections import defaultdict
from copy import deepcopy
from fractions import Fraction
from math import ceil

from hypothesis import given, settings
from hypothesis import strategies as st

from holdfast_engine.order import OrderStatus
from holdfast_engine.state import VenueState, state_sha256
from holdfast_engine.venue import Venue
from holdfast_model.vocabulary import (
    FEES,
    OUTSIDE,
    ROUNDING,
    AmendOrder,
    Amount,
    Bucket,
    CancelOrder,
    CauseKind,
    Command,
    CreditDeposit,
    EntryPosted,
    Event,
    Events,
    Market,
    OrderAccepted,
    PayWithdrawal,
    Phase,
    PlaceOrder,
    PriceTicks,
    PromoteReplica,
    RefundWithdrawal,
    RequestWithdrawal,
    SelfTrade,
    SetPhase,
    Setup,
    Side,
    SizeLots,
    TimeInForce,
    TradeExecuted,
    WithdrawalStatus,
)
from holdfast_model.vocabulary.wire import decode, encode

CLIENTS = ("alice", "bob", "carol")
OrderKey = tuple[str, str]

rates = st.one_of(st.sampled_from([0, 1, 333_333, 1_000_000]), st.integers(0, 1_000_000))
setups = st.builds(
    lambda maker, taker, lot, tick: Setup(
        assets=("BTC", "USD"),
        markets=(
            Market(
                market="M",
                base="BTC",
                quote="USD",
                lot_amount=Amount(lot),
                tick_amount=Amount(tick),
                maker_fee_ppm=maker,
                taker_fee_ppm=taker,
            ),
        ),
        clients=CLIENTS,
    ),
    rates,
    rates,
    st.sampled_from([1, 7]),
    st.sampled_from([1, 3]),
)
clients = st.sampled_from(CLIENTS)
orders = st.integers(1, 12).map(str)
withdrawals = st.integers(1, 3).map(str)
assets = st.sampled_from(["BTC", "USD"])
sizes = st.integers(1, 9).map(SizeLots)
prices = st.integers(8, 12).map(PriceTicks)
placed = st.builds(
    PlaceOrder,
    client=clients,
    order=orders,
    market=st.just("M"),
    side=st.sampled_from(Side),
    size_lots=sizes,
    price_ticks=st.one_of(prices, prices, prices, st.none()),
    time_in_force=st.sampled_from([TimeInForce.GTC, TimeInForce.GTC, TimeInForce.IOC, TimeInForce.FOK]),
    post_only=st.sampled_from([False, False, False, True]),
    self_trade=st.sampled_from(SelfTrade),
)
commands: st.SearchStrategy[Command] = st.one_of(
    placed,
    placed,
    placed,
    placed,
    st.builds(CancelOrder, client=clients, order=orders),
    st.builds(AmendOrder, client=clients, order=orders, size_lots=sizes, price_ticks=prices),
    st.builds(CreditDeposit, client=clients, asset=assets, amount=st.just(Amount(5)), transaction=orders),
    st.builds(
        RequestWithdrawal,
        client=clients,
        withdrawal=withdrawals,
        asset=assets,
        amount=st.integers(1, 60).map(Amount),
    ),
    st.builds(PayWithdrawal, client=clients, withdrawal=withdrawals),
    st.builds(RefundWithdrawal, client=clients, withdrawal=withdrawals),
    st.builds(SetPhase, phase=st.sampled_from([Phase.CANCEL_ONLY, Phase.POST_ONLY, Phase.OPEN, Phase.OPEN])),
    st.just(PromoteReplica(replica="n2")),
)
histories = st.tuples(
    setups, st.sampled_from([40, 250, 2000]), st.lists(commands, min_size=15, max_size=45).map(tuple)
)


def funded(setup: Setup, amount: int) -> Venue:
    venue = Venue(setup)
    for client in CLIENTS:
        for asset in ("BTC", "USD"):
            deposit = CreditDeposit(client=client, asset=asset, amount=Amount(amount), transaction=f"{client}{asset}")
            venue.apply(deposit)
    return venue


def fees_by_order(setup: Setup, events: list[Event]) -> dict[OrderKey, tuple[int, Fraction]]:
    """What each order was charged, and its exact fee."""
    market = setup.markets[0]
    charged: dict[OrderKey, int] = defaultdict(int)
    exact: dict[OrderKey, Fraction] = defaultdict(Fraction)
    for event in events:
        if isinstance(event, TradeExecuted):
            value = event.price_ticks * event.size_lots * market.tick_amount
            for key, fee, rate in (
                ((event.maker_client, event.maker_order), event.maker_fee, market.maker_fee_ppm),
                ((event.taker_client, event.taker_order), event.taker_fee, market.taker_fee_ppm),
            ):
                charged[key] += fee
                exact[key] += Fraction(value * rate, 1_000_000)
    return {key: (charged[key], exact[key]) for key in charged}


def held_by_orders_and_withdrawals(setup: Setup, venue: Venue, events: list[Event]) -> dict[tuple[str, str], int]:
    """What must be held: limit and fee of what is left of each open order, and each open withdrawal."""
    market = setup.markets[0]
    fees = fees_by_order(setup, events)
    rate = Fraction(max(market.maker_fee_ppm, market.taker_fee_ppm), 1_000_000)
    held: dict[tuple[str, str], int] = defaultdict(int)
    for key, order in venue.orders.items():
        if order.status is not OrderStatus.RESTING:
            continue
        if order.side is Side.SELL:
            held[order.client, "BTC"] += order.left_lots * market.lot_amount
            continue
        assert order.price_ticks is not None
        value = order.price_ticks * order.left_lots * market.tick_amount
        charged, exact = fees.get(key, (0, Fraction(0)))
        held[order.client, "USD"] += value + ceil(exact + value * rate) - charged
    for withdrawal in venue.withdrawals.values():
        if withdrawal.status is WithdrawalStatus.REQUESTED:
            held[withdrawal.client, withdrawal.asset] += withdrawal.amount
    return held


@given(histories)
@settings(max_examples=120, deadline=None)
def test_fees_are_rounded_up_once_over_each_order_and_holds_are_exactly_what_open_orders_may_cost(
    history: tuple[Setup, int, tuple[Command, ...]],
) -> None:
    setup, amount, given_commands = history
    venue = funded(setup, amount)
    events: list[Event] = []
    for command in given_commands:
        events += venue.apply(command)
        held = held_by_orders_and_withdrawals(setup, venue, events)
        for client in CLIENTS:
            for asset in ("BTC", "USD"):
                assert venue.ledger.amount(client, Bucket.HELD, asset) == held[client, asset]
    fees = fees_by_order(setup, events)
    assert all(charged == ceil(exact) for charged, exact in fees.values())
    earned = sum(exact // 1 for _, exact in fees.values())
    total = sum(charged for charged, _ in fees.values())
    assert venue.ledger.amount(FEES, Bucket.FREE, "USD") == earned
    assert venue.ledger.amount(ROUNDING, Bucket.FREE, "USD") == total - earned <= len(fees)


@given(histories)
@settings(max_examples=80, deadline=None)
def test_a_limit_order_s_hold_pays_for_every_trade_of_it(history: tuple[Setup, int, tuple[Command, ...]]) -> None:
    setup, amount, given_commands = history
    venue = funded(setup, amount)
    market_orders: set[OrderKey] = set()
    trade: TradeExecuted | None = None
    for command in given_commands:
        for event in venue.apply(command):
            if isinstance(event, OrderAccepted) and event.price_ticks is None:
                market_orders.add((event.client, event.order))
            elif isinstance(event, TradeExecuted):
                trade = event
            elif isinstance(event, EntryPosted) and event.cause_kind is CauseKind.TRADE:
                assert trade is not None
                for posting in event.postings:
                    if posting.bucket is Bucket.FREE and posting.amount < 0:
                        assert posting.account == trade.taker_client
                        assert (trade.taker_client, trade.taker_order) in market_orders


@given(histories)
@settings(max_examples=80, deadline=None)
def test_entries_balance_nobody_is_overdrawn_and_the_book_is_never_crossed(
    history: tuple[Setup, int, tuple[Command, ...]],
) -> None:
    setup, amount, given_commands = history
    venue = funded(setup, amount)
    for command in given_commands:
        for event in venue.apply(command):
            if isinstance(event, EntryPosted):
                sums: dict[str, int] = defaultdict(int)
                for posting in event.postings:
                    assert posting.amount
                    sums[posting.asset] += posting.amount
                assert set(sums.values()) == {0}
        assert all(balance.amount > 0 for balance in venue.state().balances if balance.account != OUTSIDE)
        bid, ask = (venue.books["M"].best_price(side) for side in (Side.BUY, Side.SELL))
        assert bid is None or ask is None or bid < ask
    for order in venue.orders.values():
        assert order.filled_lots + order.left_lots <= order.size_lots
        assert (order.status is OrderStatus.FILLED) == (order.filled_lots == order.size_lots)
        assert order.status is not OrderStatus.ACCEPTED


@given(histories, st.integers(0, 45))
@settings(max_examples=80, deadline=None)
def test_the_events_alone_rebuild_the_state_from_the_start_and_from_any_snapshot(
    history: tuple[Setup, int, tuple[Command, ...]], cut: int
) -> None:
    setup, amount, given_commands = history
    venue, replica = funded(setup, amount), funded(setup, amount)
    snapshot = encode(venue.state())
    decided: list[Events] = []
    for number, command in enumerate(given_commands):
        if number == cut:
            snapshot, decided = encode(venue.state()), []
        decided.append(venue.apply(command))
        replica.replay(decided[-1])
        assert encode(replica.state()) == encode(venue.state())
    restored = Venue(setup)
    restored.load(decode(snapshot, VenueState))
    for events in decided:
        restored.replay(events)
    assert restored.state() == venue.state()
    assert state_sha256(restored.state()) == state_sha256(venue.state())


@given(histories)
@settings(max_examples=40, deadline=None)
def test_the_same_commands_give_the_same_events_also_on_a_restored_venue(
    history: tuple[Setup, int, tuple[Command, ...]],
) -> None:
    setup, amount, given_commands = history
    venue = funded(setup, amount)
    half = len(given_commands) // 2
    for command in given_commands[:half]:
        venue.apply(command)
    restored = Venue(setup)
    restored.load(deepcopy(venue.state()))
    for command in given_commands[half:]:
        assert restored.apply(command) == venue.apply(command)
    assert restored.state() == venue.state()


def test_an_order_in_a_hundred_pieces_pays_one_remainder() -> None:
    market = Market(
        market="M",
        base="BTC",
        quote="USD",
        lot_amount=Amount(1),
        tick_amount=Amount(1),
        maker_fee_ppm=1_000,
        taker_fee_ppm=0,
    )
    venue = funded(Setup(assets=("BTC", "USD"), markets=(market,), clients=CLIENTS), 10_000)

    def order(client: str, name: str, side: Side, size: int) -> PlaceOrder:
        return PlaceOrder(
            client=client,
            order=name,
            market="M",
            side=side,
            size_lots=SizeLots(size),
            price_ticks=PriceTicks(11),
        )

    venue.apply(order("alice", "m", Side.SELL, 100))
    fees = []
    for number in range(100):
        events = venue.apply(order("bob", f"t{number}", Side.BUY, 1))
        fees += [event.maker_fee for event in events if isinstance(event, TradeExecuted)]
    assert len(fees) == 100
    assert sum(fees) == 2  # 1,100 USD at 0.1 % are 1.1
    assert fees[0] == 1
    assert venue.ledger.amount(FEES, Bucket.FREE, "USD") == 1
    assert venue.ledger.amount(ROUNDING, Bucket.FREE, "USD") == 1
