"""The parts of a spec that act and that speak of it: `Spec`, `@action`, and the kinds of properties.

`@always` and `@auxiliary` speak of every state, `@step` of every step, `@sometimes` names a state that must be
reachable, `@eventually` says that the way to a state stays open.
"""

import inspect
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import Enum, auto
from typing import Annotated, Any, TypeVar, get_args, get_origin, get_type_hints

from holdfast_model.errors import SpecError
from holdfast_model.spec.location import here, refuse
from holdfast_model.spec.sorts import Enumeration, Finite, Index
from holdfast_model.spec.terms import Condition, Term, all_of
from holdfast_model.spec.variables import Disabled, Limit, Run, Scope

Method = TypeVar("Method", bound=Callable[..., Any])


@dataclass(frozen=True, slots=True)
class Range:
    """The integers that an argument of an action may be: `Price = Annotated[Number, Range(1)]`.

    `least` and `greatest` are part of the meaning and hold in every checker. `explored_upto` is not: only a checker
    that enumerates stops there, and its evidence says so. Limits are numbers or functions of the spec.
    """

    least: Limit | None = None
    greatest: Limit | None = None
    explored_upto: Limit | None = None


@dataclass(frozen=True, slots=True)
class Parameter:
    """A parameter of an action or a property: a finite sort, or a range of integers."""

    name: str
    domain: "Finite | Range"


@dataclass(frozen=True, slots=True)
class ActionDeclaration:
    """One action of a spec."""

    name: str
    function: Callable[..., None]
    parameters: tuple[Parameter, ...]
    sentence: str
    declared_at: str


class PropertyKind(Enum):
    """What a property speaks of."""

    ALWAYS = auto()
    """Every reachable state satisfies it."""
    STEP = auto()
    """Every step from a reachable state satisfies it, as a relation of the state before and the state after."""
    SOMETIMES = auto()
    """Some reachable state satisfies it."""
    EVENTUALLY = auto()
    """From every reachable state that satisfies the first condition, one that satisfies the second is reachable."""


@dataclass(frozen=True, slots=True)
class Response:
    """What an `@eventually` returns: where `whenever` holds, a state in which `then` holds can still be reached."""

    whenever: Condition
    then: Condition


@dataclass(frozen=True, slots=True)
class PropertyDeclaration:
    """One property of a spec; with parameters, for all their values (a goal: for some value).

    `invariant` is the catalogue's id; for an auxiliary invariant or a goal its own stable name.
    """

    invariant: str
    name: str
    function: Callable[..., object]
    parameters: tuple[Parameter, ...]
    sentence: str
    auxiliary: bool
    declared_at: str
    kind: PropertyKind = PropertyKind.ALWAYS
    meant_for: "Callable[[Any], bool] | None" = None
    """For a goal: whether a spec is large enough that a search should reach it; None is always."""
    strengthens: bool = False
    """Whether it joins proofs of others."""


def _place(function: Callable[..., Any]) -> str:
    code = inspect.unwrap(function).__code__
    return f"{code.co_filename}:{code.co_firstlineno}"


def _sentence(function: Callable[..., Any]) -> str:
    return " ".join((function.__doc__ or "").strip().split("\n\n")[0].split())


def _parameters(function: Callable[..., Any], *, states: int = 1) -> tuple[Parameter, ...]:
    """The parameters behind the states that the function speaks of."""
    try:
        hints = get_type_hints(function, include_extras=True)
    except NameError as error:
        raise SpecError(f"{_place(function)}: {function.__name__}: {error}") from error
    found = []
    names = list(inspect.signature(function).parameters)
    if len(names) < states:
        raise SpecError(
            f"{_place(function)}: `{function.__name__}` takes {len(names)} parameters; "
            f"expected {' and '.join(('self', 'after')[:states])} first"
        )
    for name in names[states:]:
        hint = hints.get(name)
        domain: object = hint
        if get_origin(hint) is Annotated:
            domain = next((extra for extra in get_args(hint)[1:] if isinstance(extra, Range)), None)
        if isinstance(domain, Range) or (isinstance(domain, type) and issubclass(domain, Index | Enumeration)):
            found.append(Parameter(name, domain))
        else:
            raise SpecError(
                f"{_place(function)}: parameter `{name}` of `{function.__name__}` ranges over {hint!r}; "
                f"expected an Index, an Enumeration or Annotated[Number, Range(...)]"
            )
    return tuple(found)


def action(method: Method) -> Method:
    """Declare a step that the system may take whenever its guard (all `require`d conditions) is true."""
    method.__dict__["_holdfast"] = ActionDeclaration(
        method.__name__, method, _parameters(method), _sentence(method), _place(method)
    )
    return method


def always(invariant: str, *, strengthens: bool = False) -> Callable[[Method], Method]:
    """Declare what must hold in every reachable state, under an id of the catalogue such as "FINAL-1".

    One that strengthens the proofs of others joins each of them, as an auxiliary invariant does.
    """
    return _property(_catalogued(invariant), PropertyKind.ALWAYS, strengthens=strengthens)


def auxiliary(name: str) -> Callable[[Method], Method]:
    """Declare an invariant that only strengthens proofs; it is proved like the others, under this name."""
    return _property(_named(name), PropertyKind.ALWAYS, auxiliary=True, strengthens=True)


def step(invariant: str) -> Callable[[Method], Method]:
    """Declare what must hold of every step, under an id of the catalogue: `self` is the state before it.

    The second parameter is the state after it: `return self.filled[order] <= after.filled[order]`.
    """
    return _property(_catalogued(invariant), PropertyKind.STEP)


def sometimes(goal: str, *, meant_for: Callable[[Any], bool] | None = None) -> Callable[[Method], Method]:
    """Declare a state that must be reachable, as a goal with this name; its docstring says what is seen in it.

    A model in which it is not reached has not shown what it was made to show. A function of the spec may say which
    sizes it is meant for: smaller models do not have the goal.
    """
    return _property(_named(goal), PropertyKind.SOMETIMES, meant_for=meant_for)


def eventually(invariant: str) -> Callable[[Method], Method]:
    """Declare that the way to a state stays open, under an id of the catalogue. The method returns a `Response`.

    This is what a search can decide exactly without an assumption of fairness (AG EF in CTL): nothing that happens
    makes `then` unreachable. It does not say that `then` is reached on every path, nor how soon.
    """
    return _property(_catalogued(invariant), PropertyKind.EVENTUALLY)


def _catalogued(invariant: str) -> str:
    if not re.fullmatch(r"[A-Z]+-\d+", invariant):
        raise SpecError(f"{here()}: found the id {invariant!r}; expected one such as 'CONS-1'")
    return invariant


def _named(name: str) -> str:
    if not re.fullmatch(r"[a-z0-9]+(-[a-z0-9]+)*", name):
        raise SpecError(f"{here()}: found the name {name!r}; expected lower-case words joined by hyphens")
    return name


def _property(
    invariant: str,
    kind: PropertyKind,
    *,
    auxiliary: bool = False,
    meant_for: Callable[[Any], bool] | None = None,
    strengthens: bool = False,
) -> Callable[[Method], Method]:
    def declare(method: Method) -> Method:
        parameters = _parameters(method, states=2 if kind is PropertyKind.STEP else 1)
        for parameter in parameters:
            if isinstance(parameter.domain, Range):
                raise SpecError(
                    f"{_place(method)}: parameter `{parameter.name}` of a property is a number; "
                    "expected a finite sort"
                )
        sentence = _sentence(method)
        if kind is PropertyKind.SOMETIMES and not sentence:
            raise SpecError(f"{_place(method)}: goal {invariant!r} has no docstring; expected what is seen in it")
        method.__dict__["_holdfast"] = PropertyDeclaration(
            invariant,
            method.__name__,
            method,
            parameters,
            sentence,
            auxiliary,
            _place(method),
            kind,
            meant_for,
            strengthens,
        )
        return method

    return declare


class Spec(Scope):
    """A state machine: declared variables, actions that change them, properties of its states.

    A subclass's `__init__` takes the parameters of the model and passes the sizes of its index sorts on.
    """

    def __init__(self, *, sizes: Mapping[type[Index], int]) -> None:
        self.__dict__["root"] = self
        self.__dict__["sizes"] = dict(sizes)
        for sort, size in sizes.items():
            if size < 1:
                refuse(f"{sort.__name__} has size {size}; expected at least 1")

    sizes: Mapping[type, int]

    def require(self, *conditions: Condition) -> None:
        """The action can be taken only where all conditions hold."""
        run: Run = self.__dict__["_run"]
        if not run.may_require:
            refuse("`require` outside of an action; a property returns its condition")
        if run.conditions:
            refuse("`require` inside `when`; a guard holds for the whole action, so write implies(condition, ...)")
        condition = all_of(*conditions)
        if isinstance(condition, Term):
            run.guard.append(condition)
        elif not condition:
            raise Disabled

    def explored_where(self, *conditions: Condition) -> None:
        """A limit of the search, not of the model: `explore` takes the action only where all conditions hold.

        Proofs ignore it. A spec that uses it says in `scope` what it leaves out.
        """
        run: Run = self.__dict__["_run"]
        if run.exploring:
            kept, run.guard = run.guard, run.limits
            try:
                self.require(*conditions)
            finally:
                run.guard = kept

    def scope(self) -> Mapping[str, str]:
        """Limits that only the search has, by name, as evidence prints them beside the sizes and ranges."""
        return {}

    def may_end(self) -> Condition:
        """Where the system may rest for good. A spec that defines it says that any other state has a step."""
        return True

    @classmethod
    def declared_actions(cls) -> tuple[ActionDeclaration, ...]:
        """The actions, in the order written, those of base classes first."""
        return tuple(d for d in _declared(cls) if isinstance(d, ActionDeclaration))

    @classmethod
    def declared_properties(cls) -> tuple[PropertyDeclaration, ...]:
        """The properties, in the order written, those of base classes first."""
        return tuple(d for d in _declared(cls) if isinstance(d, PropertyDeclaration))


def _declared(cls: type) -> list[ActionDeclaration | PropertyDeclaration]:
    found: dict[str, ActionDeclaration | PropertyDeclaration] = {}
    for base in cls.__mro__[::-1]:
        for name, value in vars(base).items():
            declaration = getattr(value, "__dict__", {}).get("_holdfast")
            if isinstance(declaration, ActionDeclaration | PropertyDeclaration):
                found[name] = declaration
    return list(found.values())
