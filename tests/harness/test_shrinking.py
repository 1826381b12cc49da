"""Shrinking gives sequences of which nothing can be left out."""

from holdfast.shrinking import shrink
from holdfast_model.vocabulary import Amount, Burst, CancelOrder, Crash, CreditDeposit, Restart, Step, TakeSnapshot


def deposit(number: int, amount: int = 64) -> CreditDeposit:
    return CreditDeposit(client="alice", asset="USD", amount=Amount(amount), transaction=f"t{number}")


def names(steps: tuple[Step, ...]) -> set[str]:
    return {step.transaction for step in steps if isinstance(step, CreditDeposit)}


def test_only_the_steps_that_matter_are_left() -> None:
    steps = tuple(deposit(number) for number in range(50))
    small = shrink(steps, lambda candidate: {"t7", "t33"} <= names(candidate))
    assert [step.transaction for step in small if isinstance(step, CreditDeposit)] == ["t7", "t33"]


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
