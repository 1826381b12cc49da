"""What a proof has to show: its properties by conjuncts, the steps and their cases, and what became of them."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from holdfast_model.checkers.knowledge import Knowledge, is_variable
from holdfast_model.checkers.questions import Question
from holdfast_model.checkers.renaming import TermSymmetry
from holdfast_model.checkers.smt import Reply
from holdfast_model.errors import SpecError
from holdfast_model.spec.language import PropertyDeclaration, PropertyKind, Range
from holdfast_model.spec.model import Model, Step, SymbolicInstance
from holdfast_model.spec.sorts import Index, Table
from holdfast_model.spec.terms import Condition, Number, Operand, Operator, Term, all_of, any_member, at, negation

DECLARED_RANGES = "declared-ranges"
"""The stable name of the auxiliary invariant that every model has: no number is below its declared least value."""


@dataclass(frozen=True, slots=True)
class Goal:
    """A property to prove: its formula over the state's variables, and how to judge it on plain ints.

    It is auxiliary where it was not asked for and only strengthens the proof of what was.
    The formula of a property of steps is over the symbols of both states.
    """

    invariant: str
    name: str
    auxiliary: bool
    formula: Condition
    declared: PropertyDeclaration | None

    @property
    def of_steps(self) -> bool:
        """Whether it is a property of steps."""
        return self.declared is not None and self.declared.kind is PropertyKind.STEP


@dataclass(frozen=True, slots=True)
class Part:
    """A conjunct of a property with what is settled after the step, which may be several.

    One of a property of steps speaks of both states: of the one after it by the symbols behind those of the state.
    """

    after: tuple[Operand, ...]
    support: frozenset[int | str]
    place: int
    of_step: bool = False


@dataclass(frozen=True, slots=True)
class Staged:
    """An action with concrete finite arguments, staged."""

    instance: SymbolicInstance
    step: Step
    symmetry: TermSymmetry
    """The renamings that map the step, and every property, to itself."""
    compared: dict[Number, list[int]]
    """The numbers in the state that the step compares with constants, and with which."""


@dataclass(slots=True)
class Case:
    """One way in which the guard of a staged action can hold, and the variables' values after the step."""

    staged: Staged
    known: Knowledge
    values: dict[int, Operand]
    memo: dict[Term, Operand]
    values_after: dict[int, Operand]
    """The same values, for properties of steps, by the positions of the symbols of the state after the step."""
    memo_of_steps: dict[Term, Operand] = field(default_factory=dict)
    named: "Case | None" = None
    shown: dict[tuple[Operand, bool], tuple[Question, ...]] = field(default_factory=dict)
    """The questions by which a conjunct was shown; those of properties of steps mean something else."""


@dataclass(slots=True)
class Outcome:
    """What the cases of an action said about one property."""

    deciding: dict[Question, None] = field(default_factory=dict)
    unknown: str = ""
    refuted: tuple[Case, Reply] | None = None


def wanted_of(model: Model, invariants: Sequence[str]) -> set[str]:
    """The ids that were asked for: all of the model's, if none is named."""
    return set(invariants) or set(model.invariants)


def goals_of(model: Model, invariants: Sequence[str]) -> tuple[list[Goal], dict[PropertyDeclaration, str]]:
    """The properties to prove, and those that have no form over any number of members, with the reason."""
    wanted = wanted_of(model, invariants)
    goals: list[Goal] = []
    formless: dict[PropertyDeclaration, str] = {}
    for p in model.properties:
        if p.strengthens or p.invariant in wanted:
            try:
                formula = model.transition_formula(p) if p.kind is PropertyKind.STEP else model.formula(p)
                goals.append(Goal(p.invariant, p.name, p.invariant not in wanted, formula, p))
            except SpecError as error:
                if not model.unbounded:
                    raise
                formless[p] = without_place(error)
    limits: list[Condition] = []
    for symbol, variable in zip(model.symbols(), model.variables, strict=True):
        if variable.sort in (int, Table) and variable.least is not None and variable.least_is_meant:
            assert isinstance(symbol, Term)
            number = at(symbol, any_member(model.unbounded[0])) if variable.sort is Table else symbol
            assert isinstance(number, Term)
            limits.append(negation(below(number, variable.least)))
    ranges = Goal(DECLARED_RANGES, "declared_ranges", auxiliary=True, formula=all_of(*limits), declared=None)
    return [*goals, ranges], formless


def without_place(error: SpecError) -> str:
    """What is wrong, without the place in a file that a SpecError begins with."""
    return str(error).rpartition(".py:")[2].partition(": ")[2] or str(error)


def below(symbol: Operand, least: int) -> Condition:
    """Whether a number is below a declared least value."""
    return symbol < least  # type: ignore[operator]  # a variable of sort int is a Number


def is_choice(fact: Term) -> bool:
    """Whether a fact is an alternative between values of finite variables."""
    return fact.operator is Operator.OR and all(
        isinstance(a, Term)
        and a.operator is Operator.EQUAL
        and is_variable(a.arguments[0])
        and not isinstance(a.arguments[1], Term)
        for a in fact.arguments
    )


def each_after(parts: list[Part]) -> Iterator[tuple[int, Part, Operand]]:
    """Each condition of each part, numbered."""
    place = 0
    for part in parts:
        for after in part.after:
            yield place, part, after
            place += 1


def named_members(instance: SymbolicInstance) -> list[tuple[type, int]]:
    """The members of index sorts that are arguments of a step."""
    return [(type(a), int(a)) for a in instance.arguments if isinstance(a, Index)]


def label(instance: SymbolicInstance) -> str:
    """An action with its finite arguments, as reasons name it."""
    finite = [
        str(value)
        for parameter, value in zip(instance.action.parameters, instance.arguments, strict=True)
        if not isinstance(parameter.domain, Range)
    ]
    return f"{instance.action.name}({', '.join(finite)})" if finite else instance.action.name
