"""Incidents of funds: a grant in the wrong unit, tiny trades, withdrawals at once, ids of another asset or owner."""

from collections.abc import Callable, Iterator

import pytest
from msgspec.structs import replace

from holdfast.engine import Engine
from holdfast.setups import MARGIN_SETUP, SMALL_SETUP
from holdfast.stories import Story
from holdfast_model.vocabulary import (
    FEES,
    LENDING,
    PROMOTIONS,
    ROUNDING,
    SPOT,
    AccrueInterest,
    AmendOrder,
    Amount,
    Borrow,
    Bucket,
    Burst,
    CancelOrder,
    Command,
    Crash,
    CrashPoint,
    CreditDeposit,
    EntryPosted,
    FundHouse,
    GrantPromotion,
    PayWithdrawal,
    PlaceOrder,
    PriceTicks,
    Reason,
    RefundWithdrawal,
    Repay,
    RequestWithdrawal,
    Restart,
    RestoreSnapshot,
    SettleFunding,
    Side,
    SizeLots,
    TakeSnapshot,
    WithdrawalStatus,
)

Told = Callable[[Engine], None]
BTC, USD = "BTC", "USD"


def test_a_reward_in_the_wrong_unit_is_refused_and_there_is_nothing_to_sell(engine: Engine) -> None:
    """bithumb-2026-02-06: rewards in won were entered as bitcoin: 620,000 credited where 40,000 were held."""
    story = Story(MARGIN_SETUP, engine)
    story.do(FundHouse(account=PROMOTIONS, asset=BTC, amount=Amount(8), transaction="owner-1"))
    grant = GrantPromotion(client="alice", asset=BTC, amount=Amount(620_000), grant="reward")
    balances = story.view.balances
    assert story.refusal(grant) is Reason.HOUSE_LIMIT
    assert story.refusal(replace(grant, amount=Amount(6))) is Reason.HOUSE_LIMIT
    assert story.refusal(replace(grant, asset="ETH", amount=Amount(1))) is Reason.HOUSE_LIMIT
    assert story.view.balances == balances
    assert story.refusal(story.order(Side.SELL, "alice", "a1", 1, 100, "BTC-USD")) is Reason.INSUFFICIENT_FUNDS
    # What is granted within the limit comes out of what the owner paid in, and never more than that.
    assert story.refusal(replace(grant, amount=Amount(5))) is None
    assert story.refusal(replace(grant, amount=Amount(5))) is Reason.DUPLICATE_REQUEST
    assert story.refusal(replace(grant, amount=Amount(5), grant="more")) is Reason.INSUFFICIENT_FUNDS
    assert story.amount("alice", Bucket.FREE, BTC) == 5
    assert story.amount(PROMOTIONS, Bucket.FREE, BTC) == 3


def worth(story: Story, client: str) -> int:
    """A client's money in quote at the fixed price of 100 for a lot of 10 units."""
    amounts = {asset: sum(story.amount(client, bucket, asset) for bucket in Bucket) for asset in (BTC, USD)}
    return amounts[USD] + 10 * amounts[BTC]


def test_many_tiny_trades_gain_no_client_anything_by_their_rounding(engine: Engine) -> None:
    """balancer-2025-11-03: amounts of a few units, rounded up one way and down the other, in batches."""
    story = Story(SMALL_SETUP, engine)
    for client in ("alice", "bob"):
        story.deposit(client, BTC=1_000, USD=10_000)
    before = {client: worth(story, client) for client in ("alice", "bob")}
    for number in range(60):
        # The fee of one lot is a tenth or a quarter of a unit: rounded down, all of it would be free.
        story.sell("bob", f"b{number}", 1 + number % 3, 100)
        story.buy("alice", f"a{number}", 1, 100)
        story.buy("alice", f"c{number}", 3, 100)
        story.sell("bob", f"d{number}", 3, 100)
        now = {client: worth(story, client) for client in ("alice", "bob")}
        assert all(now[client] <= before[client] for client in now)
        before = now
    house = story.amount(FEES, Bucket.FREE, USD) + story.amount(ROUNDING, Bucket.FREE, USD)
    assert sum(before.values()) + house == 40_000
    assert story.amount(ROUNDING, Bucket.FREE, USD) > 0


def test_many_tiny_fundings_and_interests_gain_no_client_anything_by_their_rounding(engine: Engine) -> None:
    """balancer-2025-11-03: the same for what is charged by the period: the remainder is always the house's."""
    story = Story(MARGIN_SETUP, engine)
    story.do(FundHouse(account=LENDING, asset=USD, amount=Amount(100), transaction="owner-1"))
    story.mark("BTC-PERP", 100)
    for client in ("alice", "bob", "carol"):
        story.deposit(client, USD=2_000)
        story.pledge(client, "linear", USD=1_000)
    story.buy("alice", "a1", 3, 100, "BTC-PERP")
    story.sell("bob", "b1", 1, 100, "BTC-PERP")
    story.sell("carol", "c1", 2, 100, "BTC-PERP")
    story.do(Borrow(client="bob", request="loan", asset=USD, amount=Amount(7)))

    def all_clients() -> int:
        return sum(story.amount(client, bucket, USD) for client in ("alice", "bob", "carol") for bucket in Bucket)

    for period in range(1, 40):
        before = all_clients()
        # 1.5 is owed, 0.5 and 1 are due: of every funding one unit is over, whichever side it is that pays.
        story.do(SettleFunding(market="BTC-PERP", period=period, rate_ppm=5_000 if period % 2 else -5_000))
        assert all_clients() == before - 1
        # Interest of less than a unit is a unit.
        story.do(AccrueInterest(asset=USD, period=period, rate_ppm=10))
        assert all_clients() == before - 2
    assert story.amount("bob", Bucket.BORROWED, USD) == -7 - 39
    assert story.amount(ROUNDING, Bucket.BORROWED, USD) == 39


def interleaved(*sequences: tuple[Command, ...]) -> Iterator[tuple[Command, ...]]:
    """Every order in which these sequences can be mixed, each kept in its own order."""
    if not any(sequences):
        yield ()
        return
    for index, sequence in enumerate(sequences):
        if sequence:
            rest = (*sequences[:index], sequence[1:], *sequences[index + 1 :])
            for tail in interleaved(*rest):
                yield (sequence[0], *tail)


def request(withdrawal: str, amount: int = 60, client: str = "alice") -> RequestWithdrawal:
    """A request for bitcoin."""
    return RequestWithdrawal(client=client, withdrawal=withdrawal, asset=BTC, amount=Amount(amount))


def paid(withdrawal: str) -> PayWithdrawal:
    """The payment of one of alice's."""
    return PayWithdrawal(client="alice", withdrawal=withdrawal)


def refunded(withdrawal: str) -> RefundWithdrawal:
    """The refund of one of alice's."""
    return RefundWithdrawal(client="alice", withdrawal=withdrawal)


TWO = tuple(interleaved((request("w1"), paid("w1"), refunded("w1"), paid("w1")), (request("w2"), paid("w2"))))
THREE = tuple(interleaved(*((request(f"w{number}"), paid(f"w{number}")) for number in (1, 2, 3))))
SAME = tuple(interleaved((request("w1"), paid("w1"), refunded("w1")), (request("w1"), paid("w1"), refunded("w1"))))


def mixed(engine: Engine, orders: tuple[tuple[Command, ...], ...]) -> None:
    """Every mixture of withdrawals of 60 out of 100, each from the start: at most one of them is ever paid."""
    for commands in orders:
        story = Story(SMALL_SETUP, engine)
        story.deposit("alice", BTC=100)
        story.do(*commands)
        statuses = [withdrawal.status for withdrawal in story.view.withdrawals]
        assert statuses.count(WithdrawalStatus.PAID) == 1
        assert WithdrawalStatus.REQUESTED not in statuses
        assert (story.amount("alice", Bucket.FREE, BTC), story.amount("alice", Bucket.HELD, BTC)) == (40, 0)
        assert [item.amount for item in story.view.custody] == [40]


def test_however_two_withdrawals_are_mixed_what_is_paid_was_there(engine: Engine) -> None:
    """poloniex-2014-03-04: withdrawals that came at once were each checked against the same balance."""
    assert len(TWO) == 15
    mixed(engine, TWO)


def test_however_three_withdrawals_are_mixed_what_is_paid_was_there(engine: Engine) -> None:
    """flexcoin-2014-03-02: thousands of simultaneous requests moved what an account never had."""
    assert len(THREE) == 90
    mixed(engine, THREE)


def test_a_withdrawal_that_is_asked_for_twice_is_paid_once(engine: Engine) -> None:
    """bitgrail-2018: a request that was repeated was paid again, down to a balance below zero."""
    assert len(SAME) == 20
    for commands in SAME:
        story = Story(SMALL_SETUP, engine)
        story.deposit("alice", BTC=100)
        for command in commands:
            story.do(command)
            story.do(Burst(commands=(command, command)))
        assert [item.withdrawal for item in story.view.withdrawals] == ["w1"]
        status = story.view.withdrawals[0].status
        gone = 60 if status is WithdrawalStatus.PAID else 0
        assert status in (WithdrawalStatus.PAID, WithdrawalStatus.REFUNDED)
        assert story.amount("alice", Bucket.FREE, BTC) == 100 - gone
        more = story.order(Side.SELL, "alice", "a1", (100 - gone) // 10 + 1, 100)
        assert story.refusal(more) is Reason.INSUFFICIENT_FUNDS


def test_withdrawals_that_arrive_together_share_what_is_free(engine: Engine) -> None:
    """poloniex-2014-03-04: what is held for an order is not there for a withdrawal either, before or after a kill."""
    story = Story(SMALL_SETUP, engine)
    story.deposit("alice", BTC=100)
    story.sell("alice", "a1", 5, 110)
    story.do(Burst(commands=(request("w1", 30), request("w2", 30), request("w3", 20))))
    assert story.amount("alice", Bucket.FREE, BTC) == 0
    story.do(Crash(in_flight=request("w4", 1)), Restart())
    assert story.refusal(request("w4", 1)) is Reason.INSUFFICIENT_FUNDS
    story.do(CancelOrder(client="alice", order="a1"))
    assert story.refusal(request("w4", 51)) is Reason.INSUFFICIENT_FUNDS
    assert story.refusal(request("w4", 50)) is None
    story.do(TakeSnapshot(), RestoreSnapshot())
    assert story.refusal(story.order(Side.SELL, "alice", "a1", 5, 110)) is Reason.DUPLICATE_ORDER


def test_a_transfer_or_loan_whose_answer_was_lost_is_made_once(engine: Engine) -> None:
    """poloniex-2014-03-04: the same for margin accounts: who hears nothing asks again, and nothing moves twice."""
    story = Story(MARGIN_SETUP, engine)
    story.deposit("alice", USD=1_000)
    story.do(FundHouse(account=LENDING, asset=USD, amount=Amount(900), transaction="owner-1"))
    pledge = story.transfer("alice", USD, 400, SPOT, "linear")
    loan = Borrow(client="alice", request="loan", asset=USD, amount=Amount(300))
    repayment = Repay(client="alice", request="back", asset=USD, amount=Amount(100))
    for command in (pledge, loan, repayment):
        for point in (CrashPoint.TORN_JOURNAL, CrashPoint.AFTER_JOURNAL):
            story.do(Crash(in_flight=command, point=point), Restart())
        for _ in range(2):
            assert story.refusal(command) is Reason.DUPLICATE_REQUEST
    assert story.amount("alice", Bucket.FREE, USD) == 1_000 - 400 + 300 - 100
    assert story.amount("alice", Bucket.COLLATERAL, USD) == 400
    assert story.amount("alice", Bucket.BORROWED, USD) == -200


def test_what_was_paid_in_or_out_once_is_not_paid_again(engine: Engine) -> None:
    """mtgox-2014: a payment was told as failed and made again; here an id has one outcome for ever."""
    story = Story(SMALL_SETUP, engine)
    story.deposit("alice", BTC=100)
    again = CreditDeposit(client="alice", asset=BTC, amount=Amount(100), transaction="deposit-1")
    assert story.refusal(again) is Reason.DUPLICATE_DEPOSIT
    assert story.refusal(replace(again, client="bob")) is Reason.DUPLICATE_DEPOSIT
    story.do(request("w1"), refunded("w1"))
    assert story.refusal(paid("w1")) is Reason.WITHDRAWAL_NOT_OPEN
    assert story.refusal(request("w1")) is Reason.DUPLICATE_WITHDRAWAL
    story.do(request("w2"), paid("w2"), Crash(in_flight=paid("w2")), Restart())
    for command in (paid("w2"), refunded("w2")):
        assert story.refusal(command) is Reason.WITHDRAWAL_NOT_OPEN
    assert [item.amount for item in story.view.custody] == [40]


OTHERS = {
    "client": ("bob", "mallory"),
    "asset": ("ETH", "DOGE"),
    "market": ("ETH-USD", "NO-WHERE"),
    "order": ("b1", "nothing"),
    "withdrawal": ("w2", "nothing"),
    "source": ("island", "moon"),
    "target": (SPOT, "moon"),
    "account": ("@fees", "alice"),
}
"""By field: an id that there is, of somebody or something else, and one that there is not."""

NEW_IDS = {
    PlaceOrder: ("order",),
    RequestWithdrawal: ("withdrawal",),
}
"""Ids that a command chooses and does not refer to."""


def of_one_asset(engine: Engine) -> Story:
    """Alice has bitcoin and dollars, bob an order and a withdrawal of his own but no bitcoin, nobody has ether."""
    story = Story(MARGIN_SETUP, engine)
    story.deposit("alice", BTC=500, USD=5_000)
    story.deposit("bob", USD=200)
    story.do(FundHouse(account=LENDING, asset=USD, amount=Amount(500), transaction="owner-1"))
    story.do(FundHouse(account=PROMOTIONS, asset=BTC, amount=Amount(5), transaction="owner-2"))
    for market in MARGIN_SETUP.markets:
        story.mark(market.market, 100 if market.base == BTC else 40)
    story.pledge("alice", "linear", USD=1_000)
    story.sell("alice", "a1", 2, 110, "BTC-USD")
    story.buy("bob", "b1", 1, 90, "BTC-USD")
    story.do(request("w1", 50))
    story.do(RequestWithdrawal(client="bob", withdrawal="w2", asset=USD, amount=Amount(20)))
    story.do(Borrow(client="alice", request="loan", asset=USD, amount=Amount(100)))
    return story


@pytest.mark.parametrize(
    "command",
    [
        PlaceOrder(
            client="alice",
            order="a2",
            market="BTC-USD",
            side=Side.SELL,
            size_lots=SizeLots(3),
            price_ticks=PriceTicks(105),
        ),
        CancelOrder(client="alice", order="a1"),
        AmendOrder(client="alice", order="a1", size_lots=SizeLots(3), price_ticks=PriceTicks(111)),
        request("w3", 20),
        paid("w1"),
        refunded("w1"),
    ],
    ids=lambda command: type(command).__name__,
)
def test_an_id_of_another_asset_order_or_owner_is_refused_and_moves_nothing(engine: Engine, command: Command) -> None:
    """coinbase-api-2022-02-11: the amount of a sale was checked, and that it was of the asset sold was not."""
    story = of_one_asset(engine)
    balances, orders = story.view.balances, story.view.orders
    varied = 0
    for field in type(command).__struct_fields__:
        if field not in OTHERS or field in NEW_IDS.get(type(command), ()):
            continue
        for other in OTHERS[field]:
            told = story.do(replace(command, **{field: other}))
            assert [type(event).__name__ for event in told] == ["Rejected"], (field, other)
            varied += 1
    assert varied >= 4
    assert (story.view.balances, story.view.orders) == (balances, orders)
    # As it stands it is taken, so that it was the id that was refused.
    assert story.refusal(command) is None
    assert (story.view.balances, story.view.orders) != (balances, orders)


@pytest.mark.parametrize(
    ("command", "reasons"),
    [
        (
            Borrow(client="alice", request="r1", asset=USD, amount=Amount(50)),
            {
                "client=bob": Reason.INSUFFICIENT_MARGIN,
                "client=mallory": Reason.UNKNOWN_CLIENT,
                "asset=ETH": Reason.CREDIT_LIMIT,
                "asset=DOGE": Reason.UNKNOWN_ASSET,
                "asset=BTC": Reason.POOL_EXHAUSTED,
            },
        ),
        (
            Repay(client="alice", request="r1", asset=USD, amount=Amount(50)),
            {
                "client=bob": Reason.AMOUNT_ABOVE_DEBT,
                "asset=BTC": Reason.AMOUNT_ABOVE_DEBT,
                "request=loan": Reason.DUPLICATE_REQUEST,
            },
        ),
        (
            GrantPromotion(client="alice", asset=BTC, amount=Amount(1), grant="g1"),
            {
                "client=mallory": Reason.UNKNOWN_CLIENT,
                "asset=ETH": Reason.HOUSE_LIMIT,
                "asset=USD": Reason.INSUFFICIENT_FUNDS,
            },
        ),
        (
            FundHouse(account=PROMOTIONS, asset=USD, amount=Amount(1), transaction="owner-3"),
            {
                "account=@fees": Reason.UNKNOWN_ACCOUNT,
                "account=alice": Reason.UNKNOWN_ACCOUNT,
                "asset=DOGE": Reason.UNKNOWN_ASSET,
                "transaction=owner-1": Reason.DUPLICATE_DEPOSIT,
            },
        ),
        (
            SettleFunding(market="BTC-PERP", period=1, rate_ppm=100),
            {"market=BTC-USD": Reason.UNKNOWN_MARKET, "market=NO-WHERE": Reason.UNKNOWN_MARKET},
        ),
    ],
    ids=lambda value: type(value).__name__,
)
def test_an_id_of_another_account_or_pool_is_refused_for_what_is_wrong_with_it(
    engine: Engine, command: Command, reasons: dict[str, Reason]
) -> None:
    """coinbase-api-2022-02-11: the same for loans, grants and the house, each id on its own, with the reason."""
    story = of_one_asset(engine)
    entries = story.happened(EntryPosted)
    for change, reason in reasons.items():
        field, other = change.split("=")
        assert story.refusal(replace(command, **{field: other})) is reason, change
    assert story.happened(EntryPosted) == entries
    assert story.refusal(command) is None


def test_a_transfer_from_or_to_another_account_is_refused_and_moves_nothing(engine: Engine) -> None:
    """coinbase-api-2022-02-11: the account that a transfer comes out of must have it, and in that asset."""
    story = of_one_asset(engine)
    transfer = story.transfer("alice", USD, 100, "linear", SPOT)
    entries = story.happened(EntryPosted)
    for change, reason in (
        ({"client": "bob"}, Reason.INSUFFICIENT_FUNDS),
        ({"client": "mallory"}, Reason.UNKNOWN_CLIENT),
        ({"asset": BTC}, Reason.INSUFFICIENT_FUNDS),
        ({"source": "island"}, Reason.INSUFFICIENT_FUNDS),
        ({"source": SPOT}, Reason.TRANSFER_ILLEGAL),
        ({"target": "linear"}, Reason.TRANSFER_ILLEGAL),
        ({"target": "moon"}, Reason.UNKNOWN_PRODUCT),
        ({"asset": BTC, "source": SPOT, "target": "island"}, Reason.TRANSFER_ILLEGAL),
    ):
        assert story.refusal(replace(transfer, **change)) is reason, change
    assert story.happened(EntryPosted) == entries
    assert story.refusal(transfer) is None


@pytest.mark.parametrize(
    ("fault", "told"),
    [
        ("fee-rounded-down", test_many_tiny_trades_gain_no_client_anything_by_their_rounding),
        ("rounding-remainder-kept", test_many_tiny_trades_gain_no_client_anything_by_their_rounding),
        ("fee-from-nowhere", test_many_tiny_trades_gain_no_client_anything_by_their_rounding),
        ("held-funds-withdrawn", test_withdrawals_that_arrive_together_share_what_is_free),
        ("deposit-credited-twice", test_what_was_paid_in_or_out_once_is_not_paid_again),
        ("withdrawal-paid-after-refund", test_what_was_paid_in_or_out_once_is_not_paid_again),
        ("refund-in-another-asset", test_what_was_paid_in_or_out_once_is_not_paid_again),
    ],
)
def test_a_planted_fault_of_funds_is_caught_by_an_invariant(
    fault: str, told: Told, violated: Callable[[str, Told], None]
) -> None:
    violated(fault, told)


def test_a_sale_of_what_a_client_has_not_is_caught_where_the_exchange_lets_it_through(
    violated: Callable[[str, Told], None],
) -> None:
    def sale_of_ether(engine: Engine) -> None:
        story = of_one_asset(engine)
        story.sell("alice", "a2", 3, 40, "ETH-USD")

    violated("order-without-funds", sale_of_ether)
