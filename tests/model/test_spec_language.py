"""The staged language: what a spec may say, what it means on symbols and on ints, and how it is refused."""

import linecache
import re
from enum import auto
from typing import Annotated, Any, Self

import pytest

from holdfast_model.errors import SpecError
from holdfast_model.spec import (
    Bool,
    Condition,
    Enum,
    Enumeration,
    Index,
    Instance,
    Int,
    Model,
    Nat,
    Number,
    Part,
    Range,
    Record,
    Spec,
    action,
    all_of,
    always,
    any_of,
    eventually,
    exists,
    forall,
    implies,
    ite,
    maximum,
    minimum,
    negation,
    sometimes,
    step,
    total,
)
from holdfast_model.spec.terms import Operand, Term, substitute, variable


class Account(Index, prefix="u"):
    pass


class Asset(Enumeration):
    SOL = auto()
    USDT = auto()


class Colour(Enumeration):
    RED = auto()
    GREEN = auto()


Amount = Annotated[Number, Range(1, 3)]


class Purse(Record):
    free = Nat.upto(9).per(Account, Asset).starting(lambda account, asset: 1 + account + 2 * asset)
    colour = Enum(Colour).starting(Colour.GREEN)


class Shop(Spec):
    live = Part(Purse)
    saved = Part(Purse)
    favourite = Enum(Account)
    open = Bool
    moves = Int.between(-5, 5)

    def __init__(self) -> None:
        super().__init__(sizes={Account: 2})

    @action
    def pay(self, payer: Account, asset: Asset, amount: Amount) -> None:
        """Someone pays the favourite, who may be the payer."""
        self.require(self.live.free[payer, asset] >= amount)
        self.live.free[payer, asset] -= amount
        self.live.free[self.favourite, asset] += amount
        with self.when(self.live.free[payer, asset] == 0):
            self.open = True
            self.moves = minimum(self.moves + 1, 5)
            with self.when(self.live.colour == Colour.RED):
                self.favourite = payer
        with self.when(negation(self.open)):
            self.live.colour = ite(self.live.colour == Colour.RED, Colour.GREEN, Colour.RED)

    @action
    def save(self) -> None:
        self.saved = self.live

    @always("CONS-1")
    def total_is_kept(self, asset: Asset) -> Condition:
        return total(self.live.free[account, asset] for account in Account) == 3 + 4 * int(asset)


def evaluated(term: Operand, state: tuple[int, ...], model: Model) -> int:
    """The value of a term in a state, by substitution and folding alone."""
    values: dict[int, Operand] = {
        p: v.sort(x) if issubclass(v.sort, bool | Index | Enumeration) else x
        for p, (v, x) in enumerate(zip(model.variables, state, strict=True))
    }
    result = substitute(term, values, memo={})
    assert not isinstance(result, Term)
    return int(result)


def test_staged_terms_and_interpretation_agree_on_every_state_of_a_search() -> None:
    model = Model(Shop())
    seen = {model.initial}
    frontier = [model.initial]
    compared = 0
    while frontier:
        state = frontier.pop()
        for instance in model.instances():
            step = model.stage(instance.action, instance.arguments)
            assert step is not None
            after = model.step(instance, state)
            assert bool(evaluated(step.guard, state, model)) == (after is not None)
            if after is None:
                continue
            expected = tuple(
                evaluated(step.updates[p], state, model) if p in step.updates else value
                for p, value in enumerate(state)
            )
            assert expected == after
            compared += 1
            if after not in seen and len(seen) < 60:
                seen.add(after)
                frontier.append(after)
    assert compared > 300


def test_a_read_after_a_write_sees_the_new_value_and_a_false_when_changes_nothing() -> None:
    model = Model(Shop())
    pay = next(a for a in model.actions if a.name == "pay")
    after = model.step(Instance(pay, (Account(1), Asset.SOL, 2)), model.initial)
    assert after is not None
    shown = model.show(after)
    assert (shown["live.free[u1, sol]"], shown["live.free[u2, sol]"]) == ("3", "0")
    assert shown["open"] == "true"
    assert shown["live.colour"] == "green"  # open was already true when the colour would have changed
    assert shown["moves"] == "1"
    assert shown["favourite"] == "u1"


def test_a_disabled_action_has_no_successor() -> None:
    model = Model(Shop())
    pay = next(a for a in model.actions if a.name == "pay")
    assert model.step(Instance(pay, (Account(0), Asset.SOL, 2)), model.initial) is None


def test_a_record_is_copied_as_a_whole() -> None:
    model = Model(Shop())
    pay, save = model.actions
    paid = model.step(Instance(pay, (Account(1), Asset.SOL, 1)), model.initial)
    assert paid is not None
    saved = model.step(Instance(save, ()), paid)
    assert saved is not None
    shown = model.show(saved)
    assert all(shown[f"saved.{name[5:]}"] == value for name, value in shown.items() if name.startswith("live."))
    assert model.show(paid)["saved.free[u2, sol]"] == "2"


def test_labels_print_members_by_name_and_numbers_with_theirs() -> None:
    model = Model(Shop())
    assert [i.label for i in model.instances()][:2] == ["pay(u1, sol, amount=1)", "pay(u1, sol, amount=2)"]
    assert model.instances()[-1].label == "save"


def test_quantifiers_and_connectives_on_ints() -> None:
    assert all_of() is True
    assert any_of() is False
    assert forall(x > 0 for x in (1, 2)) is True
    assert exists(x > 2 for x in (1, 2)) is False
    assert implies(False, False) is True  # noqa: FBT003 - a truth table
    assert implies(True, False) is False  # noqa: FBT003 - a truth table
    assert [int(x) for x in (minimum(2, 3), maximum(2, 3), total([1, 2, 3]))] == [2, 3, 6]


NAMES = {"Self": Self, "eventually": eventually, "sometimes": sometimes, "step": step}
"""What the texts below use besides the names of this module."""


def spec_with(body: str, *, properties: str = "") -> Spec:
    """A spec whose action has this body, from text that has a file name and lines, as a user's spec has."""
    text = (
        "class Subject(Spec):\n"
        "    level = Nat.upto(3)\n"
        "    balance, debt = Int.per(Account), Int.per(Account)\n"
        "    colour = Enum(Colour)\n"
        "    owner = Enum(Account)\n"
        "    def __init__(self) -> None:\n"
        "        super().__init__(sizes={Account: 2})\n"
        f"{properties}"
        "    @action\n"
        "    def act(self, account: Account) -> None:\n" + "".join(f"        {line}\n" for line in body.splitlines())
    )
    name = f"/specs/subject-{abs(hash(text))}.py"
    linecache.cache[name] = (len(text), None, text.splitlines(keepends=True), name)
    names: dict[str, Any] = {**globals(), **NAMES, "__name__": "subject"}
    exec(compile(text, name, "exec"), names)  # noqa: S102 - the text stands in this file
    found: Spec = names["Subject"]()
    return found


class Pair(Spec):
    live = Part(Purse)
    saved = Part(Purse)

    def __init__(self) -> None:
        super().__init__(sizes={Account: 2})

    @action
    def pay(self, account: Account, asset: Asset) -> None:
        self.live.free[account, asset] += 1

    @always("CONS-1")
    def others_are_kept(self, asset: Asset) -> Condition:
        rest = (self.live.free.equals(self.saved.free, each) for each in Asset if each != asset)
        return any_of(self.live.free.equals(self.saved.free, asset), *rest)

    @always("CONS-2")
    def all_is_kept(self) -> Condition:
        return self.live.free.equals(self.saved.free)


def test_families_are_equal_where_everything_in_them_is_with_the_indices_that_are_given() -> None:
    model = Model(Pair())
    kept, all_kept = model.properties
    initial = model.initial
    paid: dict[tuple[object, ...], tuple[int, ...]] = {}
    for instance in model.instances():
        after = model.step(instance, initial)
        assert after is not None
        paid[instance.arguments] = after
    assert len(paid) == len({*paid.values()}) == 4
    assert model.holds(all_kept, initial)
    for after in paid.values():
        assert model.holds(kept, after), "one asset changed, for one account: the other is as it was"
        assert not model.holds(all_kept, after)
    both = tuple(
        max(numbers) for numbers in zip(paid[Account(0), Asset.SOL], paid[Account(1), Asset.USDT], strict=True)
    )
    assert not model.holds(kept, both)


REFUSED = [
    ("if self.level == 1:\n    self.level = 2", "truth value", 10),
    ("self.require(0 < self.level < 2)", "truth value", 10),
    ("self.require(self.level == 1 and self.level == 2)", "truth value", 10),
    ("self.level = 1\nself.levle = 2", "`levle` is not a variable", 11),
    ("self.level = self.levle", "`levle` is not a variable", 10),
    ("self.level = nonsense", "NameError", 10),
    ("self.colour = 1", "expected a Colour", 10),
    ("self.colour = Asset.SOL", "expected a Colour", 10),
    ("self.level = Colour.RED", "is assigned a Colour; expected a int", 10),
    ("self.require(self.colour == Asset.SOL)", "is compared with a Asset", 10),
    ("self.level = self.colour + 1", "arithmetic on a value of sort Colour", 10),
    ("self.balance = 1", "is a family", 10),
    ("self.balance[self.colour] = 1", "indexed with a Colour", 10),
    ("self.balance[Asset.SOL] = 1", "indexed with a Asset", 10),
    ("self.balance[2] = 1", "has no index 2", 10),
    ("self.balance[account, account] = 1", "has 1 indices (Account); found 2", 10),
    (
        "self.require(self.balance.equals(self.balance, Asset.SOL))",
        "`balance` is held to a Asset; it is by Account",
        10,
    ),
    ("self.require(self.balance.equals(self.debt))", "`balance` is compared with `debt`", 10),
    ("self.level = self.level // 2", "division is not part of the language", 10),
    ("with self.when(self.level == 1):\n    self.require(self.level == 1)", "`require` inside `when`", 11),
    ("self.require(self.level)", "expected a condition", 10),
    ("self.level = ite(self.level == 1, Colour.RED, 2)", "`ite` between", 10),
    ("self.level = 'high'", "found 'high'", 10),
    ("self.level = range(self.level)[0]", "used as a Python integer", 10),
]


@pytest.mark.parametrize(("body", "message", "line"), REFUSED, ids=[r[0].replace("\n", " / ") for r in REFUSED])
def test_a_wrong_spec_is_refused_at_its_line(body: str, message: str, line: int) -> None:
    model = Model(spec_with(body))
    with pytest.raises(SpecError, match=re.escape(message)) as caught:
        model.stage(model.actions[0], (Account(0),))
    assert re.match(rf"/specs/subject-\d+\.py:{line}: ", str(caught.value))


def test_a_property_that_changes_the_state_is_refused() -> None:
    wrong = "    @always('CONS-1')\n    def holds(self) -> Condition:\n        self.level += 1\n        return True\n"
    model = Model(spec_with("pass", properties=wrong))
    with pytest.raises(SpecError, match="property `holds` changes the state"):
        model.formula(model.properties[0])


def test_a_property_without_a_result_is_refused() -> None:
    wrong = "    @always('CONS-1')\n    def holds(self) -> Condition:\n        self.level >= 0\n"
    model = Model(spec_with("pass", properties=wrong))
    with pytest.raises(SpecError, match="returned None; expected a condition"):
        model.formula(model.properties[0])


def test_a_parameter_of_no_sort_is_refused() -> None:
    with pytest.raises(SpecError, match=r"parameter `amount` of `act` ranges over .*int"):

        class Wrong(Spec):
            @action
            def act(self, amount: int) -> None:
                """Take any number."""


def test_a_first_value_outside_of_its_range_is_refused() -> None:
    class Wrong(Spec):
        level = Nat.upto(3).starting(4)

        def __init__(self) -> None:
            super().__init__(sizes={})

        @action
        def act(self) -> None:
            """Do nothing."""

    with pytest.raises(SpecError, match=r"level starts at 4; expected a value within 0\.\.3"):
        Model(Wrong())


def test_an_index_sort_without_a_size_is_refused() -> None:
    class Wrong(Spec):
        balance = Nat.per(Account)

        def __init__(self) -> None:
            super().__init__(sizes={})

        @action
        def act(self) -> None:
            """Do nothing."""

    with pytest.raises(SpecError, match="Account has no size"):
        Model(Wrong())


def test_an_id_that_no_catalogue_can_have_is_refused() -> None:
    with pytest.raises(SpecError, match="found the id 'conservation'"):
        always("conservation")


GHOSTLY = [
    ("self.require(self.seen > 0)", "its guard depends on the ghost `seen`"),
    ("self.level = self.seen", "a variable that is no ghost depends on the ghost `seen`"),
    ("with self.when(self.seen > 0):\n    self.level = 1", "a variable that is no ghost depends on the ghost `seen`"),
]


@pytest.mark.parametrize(("body", "message"), GHOSTLY, ids=[body.replace("\n", " / ") for body, _ in GHOSTLY])
def test_a_ghost_that_decides_anything_is_refused(body: str, message: str) -> None:
    model = Model(spec_with(body, properties="    seen = Nat.upto(3).ghost()\n"))
    with pytest.raises(SpecError, match=re.escape(f"in `act` {message}")) as caught:
        model.stage(model.actions[0], (Account(0),))
    assert re.match(r"/specs/subject-\d+\.py:9: ", str(caught.value))


def test_a_ghost_may_follow_ghosts_and_limit_a_search() -> None:
    ghosts = "    seen = Nat.upto(3).ghost()\n    kept = Nat.per(Account).ghost()\n"
    model = Model(
        spec_with(
            "self.explored_where(self.seen < 3)\nself.seen += 1\nself.kept[account] = self.seen", properties=ghosts
        )
    )
    assert model.stage(model.actions[0], (Account(0),), exploring=True) is not None
    assert {v.name for v in model.variables} - {v.name for v in model.abstraction} == {"seen", "kept[u1]", "kept[u2]"}


WRONG_PROPERTIES = [
    (
        "@step('FINAL-2')",
        "def holds(self) -> Condition:",
        "return True",
        r"takes 1 parameters; expected self and after",
    ),
    ("@step('grows')", "def holds(self, after: Self) -> Condition:", "return True", "found the id 'grows'"),
    ("@sometimes('FINAL-2')", "def holds(self) -> Condition:", "return True", "found the name 'FINAL-2'"),
    ("@sometimes('lit')", "def holds(self) -> Condition:", "return True", "goal 'lit' has no docstring"),
]


@pytest.mark.parametrize(("decorator", "head", "body", "message"), WRONG_PROPERTIES)
def test_a_property_of_the_wrong_form_is_refused_where_it_is_written(
    decorator: str, head: str, body: str, message: str
) -> None:
    with pytest.raises(SpecError, match=message) as caught:
        spec_with("pass", properties=f"    {decorator}\n    {head}\n        {body}\n")
    assert re.match(r"/specs/subject-\d+\.py:8: ", str(caught.value))


def test_an_eventuality_without_a_response_is_refused() -> None:
    wrong = "    @eventually('LIVE-1')\n    def ends(self) -> Condition:\n        return self.level == 1\n"
    model = Model(spec_with("pass", properties=wrong))
    with pytest.raises(SpecError, match=r"py:8: `ends` returned .*; expected a Response"):
        model.response_formulas(model.responses[0])


def test_a_property_with_an_unbound_name_or_a_python_if_is_refused_at_its_line() -> None:
    wrong = (
        "    @step('FINAL-2')\n    def one(self, after: Self) -> Condition:\n        return nonsense\n"
        "    @step('FINAL-3')\n    def other(self, after: Self) -> Condition:\n"
        "        return True if after.level > self.level else False\n"
    )
    model = Model(spec_with("pass", properties=wrong))
    one, other = model.properties
    with pytest.raises(SpecError, match=r"py:10: NameError: name 'nonsense'"):
        model.step_formula(one, {})
    with pytest.raises(SpecError, match=r"py:13: a symbolic value was used as a Python truth value"):
        model.step_formula(other, {0: variable(1, int)})


def test_a_property_of_steps_may_not_change_either_state() -> None:
    wrong = (
        "    @step('FINAL-2')\n    def holds(self, after: Self) -> Condition:\n"
        "        after.level = 2\n        return True\n"
    )
    model = Model(spec_with("pass", properties=wrong))
    with pytest.raises(SpecError, match="property `holds` changes the state"):
        model.step_formula(model.properties[0], {})


def test_a_loop_over_cases_changes_only_where_the_value_is_that_one() -> None:
    class Cases(Spec):
        colour = Enum(Colour)
        counted = Nat.upto(9).per(Colour)

        def __init__(self) -> None:
            super().__init__(sizes={})

        @action
        def count(self) -> None:
            """Count the colour that it is."""
            for colour in self.cases(self.colour, Colour):
                self.counted[colour] += 1
            for colour in self.cases(Colour.GREEN, Colour):
                self.counted[colour] += 2

    model = Model(Cases())
    step_taken = model.stage(model.actions[0], ())
    assert step_taken is not None
    for state in ((0, 1, 1), (1, 1, 1)):
        after = model.step(Instance(model.actions[0], ()), state)
        assert after == tuple(
            evaluated(step_taken.updates[p], state, model) if p in step_taken.updates else value
            for p, value in enumerate(state)
        )
    assert model.step(Instance(model.actions[0], ()), (1, 0, 0)) == (1, 0, 3)


def test_parts_of_a_spec_are_put_together_by_inheritance() -> None:
    class Base(Spec):
        level = Nat.upto(3)
        live = Part(Purse)

        def __init__(self) -> None:
            super().__init__(sizes={Account: 2})

        @action
        def rise(self) -> None:
            """One more."""
            self.level += 1

    class Wide(Purse):
        extra = Nat.upto(5)

    class Left(Base):
        left = Bool

    class Right(Base):
        right = Bool
        live = Part(Wide)

    class Both(Left, Right):
        """Has what each of them has."""

    names = [v.name for v in Model(Both()).variables]
    assert {"level", "left", "right", "live.extra"} <= set(names)
    assert names.count("level") == 1


def test_a_record_of_another_kind_is_not_assigned() -> None:
    class Other(Purse):
        extra = Bool

    class Mixed(Spec):
        one = Part(Purse)
        other = Part(Other)

        def __init__(self) -> None:
            super().__init__(sizes={Account: 2})

        @action
        def mix(self) -> None:
            """Assign what does not fit."""
            self.one = self.other

    model = Model(Mixed())
    with pytest.raises(SpecError, match="a Purse is assigned a Other"):
        model.stage(model.actions[0], ())


def test_a_fresh_record_has_the_first_values_and_changes_nothing() -> None:
    class Blank(Spec):
        live = Part(Purse)
        level = Nat.upto(20)

        def __init__(self) -> None:
            super().__init__(sizes={Account: 2})

        @action
        def look(self) -> None:
            """Take a blank purse and look into it."""
            blank = self.fresh(Purse)
            blank.free[Account(0), Asset.SOL] += 5
            self.level = blank.free[Account(0), Asset.SOL]
            self.require(blank.in_range())

    model = Model(Blank())
    before = (9, 9, 9, 9, 0, 0)
    assert model.step(Instance(model.actions[0], ()), before) == (9, 9, 9, 9, 0, 6)
