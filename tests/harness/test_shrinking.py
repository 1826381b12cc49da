"""Shrinking gives sequences of which nothing can be left out."""

from collections import Counter

import pytest

from holdfast.shrinking import shrink
from holdfast_model.vocabulary import (
    AccrueInterest,
    AdvanceTime,
    Amount,
    AnnounceMaintenance,
    ApproveWithdrawal,
    Borrow,
    BroadcastPayment,
    Burst,
    CancelOrder,
    Conditions,
    Crash,
    CreditDeposit,
    FundHouse,
    GrantPromotion,
    PlaceOrder,
    PriceTicks,
    Repay,
    ReportPrice,
    Restart,
    SettleFunding,
    Side,
    SizeLots,
    Step,
    TakeSnapshot,
    TimeInForce,
    TransferMargin,
    Trigger,
    TriggerBy,
    TriggerWhen,
    commands_of,
)


def deposit(number: int, amount: int = 64) -> CreditDeposit:
    return CreditDeposit(client="alice", asset="USD", amount=Amount(amount), transaction=f"t{number}")


def names(steps: tuple[Step, ...]) -> set[str]:
    return {step.transaction for step in steps if isinstance(step, CreditDeposit)}


def test_only_the_steps_that_matter_are_left() -> None:
    steps = tuple(deposit(number) for number in range(50))
    small = shrink(steps, lambda candidate: {"t7", "t33"} <= names(candidate))
    assert [step.transaction for step in small if isinstance(step, CreditDeposit)] == ["t7", "t33"]


def test_steps_that_only_go_together_are_taken_while_there_are_many() -> None:
    kept = {f"t{number}" for number in range(21)}

    def shows(candidate: tuple[Step, ...]) -> bool:
        """The first of two steps shows it only with the second, which makes up for it."""
        found = names(candidate)
        return kept <= found and (("t90" in found) == ("t91" in found))

    steps = (deposit(90), *(deposit(number) for number in range(21)), deposit(91))
    assert names(shrink(steps, shows)) == kept


def test_numbers_become_as_small_as_they_can() -> None:
    small = shrink(
        (deposit(1, 1000),),
        lambda candidate: any(isinstance(step, CreditDeposit) and step.amount >= 100 for step in candidate),
    )
    assert isinstance(small[0], CreditDeposit)
    assert 100 <= small[0].amount < 200


def test_a_burst_loses_the_commands_that_do_not_matter() -> None:
    burst = Burst(commands=tuple(CancelOrder(client="alice", order=f"o{number}") for number in range(6)))

    def shows(candidate: tuple[Step, ...]) -> bool:
        return any(
            isinstance(step, Burst) and {"o2", "o4"} <= {command.order for command in step.commands}  # type: ignore[union-attr]  # all are cancels
            for step in candidate
        )

    (small,) = shrink((TakeSnapshot(), burst), shows)
    assert isinstance(small, Burst)
    assert len(small.commands) == 2


def test_a_crash_loses_what_was_in_flight_where_it_does_not_matter() -> None:
    crash = Crash(in_flight=CancelOrder(client="alice", order="o1"))
    small = shrink((crash, Restart()), lambda candidate: any(isinstance(step, Crash) for step in candidate))
    assert small == (Crash(),)


def test_the_number_of_runs_is_bounded() -> None:
    runs = 0

    def shows(candidate: tuple[Step, ...]) -> bool:
        nonlocal runs
        runs += 1
        return len(candidate) >= 40

    shrink(tuple(deposit(number) for number in range(60)), shows, runs_max=25)
    assert runs <= 25


def order(conditions: Conditions | None, life: TimeInForce = TimeInForce.GTC) -> PlaceOrder:
    return PlaceOrder(
        client="alice",
        order="o1",
        market="BTC-USD",
        side=Side.BUY,
        size_lots=SizeLots(1),
        price_ticks=PriceTicks(100),
        time_in_force=life,
        conditions=conditions,
    )


ALL_CONDITIONS = Conditions(
    trigger=Trigger(by=TriggerBy.MARK, when=TriggerWhen.AT_OR_ABOVE, price_ticks=PriceTicks(101)),
    reduce_only=True,
    expires_ms=9,
    one_cancels_other="o0",
    cancel_on_disconnect=True,
)


def placed(steps: tuple[Step, ...]) -> list[PlaceOrder]:
    return [step for step in steps if isinstance(step, PlaceOrder)]


def test_an_order_loses_every_condition_that_does_not_matter_and_is_good_till_cancelled() -> None:
    small = shrink((order(ALL_CONDITIONS, TimeInForce.GTT),), lambda candidate: bool(placed(candidate)))
    assert small == (order(None),)


@pytest.mark.parametrize("kept", ["trigger", "reduce_only", "one_cancels_other", "cancel_on_disconnect"])
def test_an_order_keeps_the_one_condition_that_matters(kept: str) -> None:
    def shows(candidate: tuple[Step, ...]) -> bool:
        return any(getattr(item.conditions, kept, None) for item in placed(candidate))

    (small,) = placed(shrink((order(ALL_CONDITIONS, TimeInForce.GTT),), shows))
    changed = {name: getattr(small.conditions, name) for name in Conditions.__struct_fields__}
    assert {name for name, value in changed.items() if value} == {kept}
    assert small.time_in_force is TimeInForce.GTC


def test_a_trigger_by_the_mark_becomes_one_by_the_last_trade() -> None:
    (small,) = placed(shrink((order(ALL_CONDITIONS),), lambda steps: any(item.conditions for item in placed(steps))))
    assert small.conditions in (
        Conditions(trigger=Trigger(when=TriggerWhen.AT_OR_ABOVE, price_ticks=PriceTicks(101))),
        Conditions(cancel_on_disconnect=True),
    )


@pytest.mark.parametrize(
    "step",
    [
        TransferMargin(client="a", request="r", asset="USD", amount=Amount(640), source="spot", target="linear"),
        Borrow(client="a", request="r", asset="USD", amount=Amount(640)),
        Repay(client="a", request="r", asset="USD", amount=Amount(640)),
        FundHouse(account="@insurance", asset="USD", amount=Amount(640), transaction="h"),
        GrantPromotion(client="a", asset="USD", amount=Amount(640), grant="g"),
    ],
    ids=lambda step: type(step).__name__,
)
def test_amounts_of_margin_become_as_small_as_they_can(step: Step) -> None:
    (small,) = shrink((step,), lambda candidate: all(item.amount >= 100 for item in candidate))  # type: ignore[union-attr]  # all have one
    assert 100 <= small.amount < 200  # type: ignore[union-attr]  # it has one


def test_rates_below_zero_become_smaller_with_their_sign() -> None:
    funding = SettleFunding(market="M", period=1, rate_ppm=-800)
    (small,) = shrink((funding,), lambda steps: all(step.rate_ppm < 0 for step in steps))  # type: ignore[union-attr]  # all have one
    assert small == SettleFunding(market="M", period=1, rate_ppm=-1)


def test_periods_are_counted_anew_when_one_goes() -> None:
    steps = tuple(AccrueInterest(asset=asset, period=n, rate_ppm=1) for n in (1, 2, 3) for asset in ("USD", "BTC"))

    def shows(candidate: tuple[Step, ...]) -> bool:
        """As an exchange does, it takes only the next period of each asset; the last of USD must be there."""
        periods = Counter[str]()
        for step in candidate:
            assert isinstance(step, AccrueInterest)
            periods[step.asset] += step.period == periods[step.asset] + 1
        return periods["USD"] >= 2

    small = shrink(steps, shows)
    assert [(step.asset, step.period) for step in small if isinstance(step, AccrueInterest)] == [
        ("USD", 1),
        ("USD", 2),
    ]


def test_an_announcement_moves_with_the_time_for_which_it_was_made() -> None:
    steps: tuple[Step, ...] = (
        AdvanceTime(time_ms=100_000),
        AnnounceMaintenance(begins_ms=100_500),
        AdvanceTime(time_ms=100_500),
    )

    def shows(candidate: tuple[Step, ...]) -> bool:
        """An announcement for later than when it is made, and the time reaches it."""
        now, begins = 0, None
        for step in candidate:
            if isinstance(step, AdvanceTime):
                now = step.time_ms
            elif isinstance(step, AnnounceMaintenance) and step.begins_ms > now:
                begins = step.begins_ms
        return begins is not None and now >= begins

    assert shrink(steps, shows) == (AnnounceMaintenance(begins_ms=1), AdvanceTime(time_ms=1))


def report(time: int, price: int) -> ReportPrice:
    return ReportPrice(source="s1", market="M", price_ticks=PriceTicks(price), time_ms=time)


def test_time_goes_on_by_no_more_than_it_must_and_what_follows_moves_with_it() -> None:
    steps = (
        AdvanceTime(time_ms=100_000),
        report(100_000, 7),
        AdvanceTime(time_ms=190_000),
        order(Conditions(expires_ms=190_500), TimeInForce.GTT),
        report(190_000, 9),
    )

    def shows(candidate: tuple[Step, ...]) -> bool:
        """Two reports of one source, each as of the time by then, the second later than the first; and an expiry."""
        now = 0
        reports: list[int] = []
        for step in candidate:
            if isinstance(step, AdvanceTime):
                now = step.time_ms
            elif isinstance(step, ReportPrice) and step.time_ms == now and now > max(reports, default=-1):
                reports.append(now)
        expiring = [item.conditions.expires_ms for item in placed(candidate) if item.conditions is not None]
        return len(reports) == 2 and any(expires is not None and expires > now for expires in expiring)

    small = shrink(steps, shows)
    times = [step.time_ms for step in small if isinstance(step, AdvanceTime)]
    assert len(times) <= 2
    assert max(times) <= 3
    assert {step.price_ticks for step in small if isinstance(step, ReportPrice)} == {7}


def test_clients_and_markets_that_need_not_differ_are_one() -> None:
    def order(client: str, market: str) -> PlaceOrder:
        return PlaceOrder(
            client=client,
            order=f"{client}-{market}",
            market=market,
            side=Side.BUY,
            size_lots=SizeLots(1),
            price_ticks=PriceTicks(1),
            time_in_force=TimeInForce.GTC,
        )

    steps = (
        order("alice", "BTC-USD"),
        Burst(commands=(order("bob", "ETH-USD"), CancelOrder(client="carol", order="o"))),
        ApproveWithdrawal(client="carol", withdrawal="w1"),
        BroadcastPayment(payment="carol/w1"),
    )

    def shows(candidate: tuple[Step, ...]) -> bool:
        """Two clients are needed, and nothing else but all the commands."""
        clients = {
            command.client
            for step in candidate
            for command in commands_of(step)
            if isinstance(command, PlaceOrder | CancelOrder | ApproveWithdrawal)
        }
        return len(candidate) == len(steps) and len(commands_of(candidate[1])) == 2 and len(clients) > 1

    first, burst, approval, payment = shrink(steps, shows)
    assert isinstance(burst, Burst)
    assert [command.client for command in burst.commands if isinstance(command, PlaceOrder)] == ["alice"]
    assert {command.market for command in (first, *burst.commands) if isinstance(command, PlaceOrder)} == {"BTC-USD"}
    assert approval == ApproveWithdrawal(client="carol", withdrawal="w1")
    assert payment == BroadcastPayment(payment="carol/w1")


@pytest.mark.parametrize("name", ["buy", "cancel_order"])
def test_a_client_that_is_called_as_something_else_in_a_step_is_left_alone(name: str) -> None:
    steps = (
        CancelOrder(client="alice", order="o1"),
        CancelOrder(client=name, order="o2"),
        PlaceOrder(
            client="alice",
            order="o3",
            market="BTC-USD",
            side=Side.BUY,
            size_lots=SizeLots(1),
            price_ticks=PriceTicks(1),
            time_in_force=TimeInForce.GTC,
        ),
    )
    assert shrink(steps, lambda candidate: len(candidate) == len(steps)) == steps
