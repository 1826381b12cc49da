"""The parts of a spec that act: `Spec`, `@action`, `@always`, `@auxiliary`, guards and conditional updates."""

import inspect
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
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


@dataclass(frozen=True, slots=True)
class PropertyDeclaration:
    """One formula that is meant to hold in every reachable state; with parameters, for all their values.

    `invariant` is the catalogue's id, or for an auxiliary invariant its own stable name.
    """

    invariant: str
    name: str
    function: Callable[..., Condition]
    parameters: tuple[Parameter, ...]
    sentence: str
    auxiliary: bool
    declared_at: str


def _place(function: Callable[..., Any]) -> str:
    code = inspect.unwrap(function).__code__
    return f"{code.co_filename}:{code.co_firstlineno}"


def _sentence(function: Callable[..., Any]) -> str:
    return " ".join((function.__doc__ or "").strip().split("\n\n")[0].split())


def _parameters(function: Callable[..., Any]) -> tuple[Parameter, ...]:
    try:
        hints = get_type_hints(function, include_extras=True)
    except NameError as error:
        raise SpecError(f"{_place(function)}: {function.__name__}: {error}") from error
    found = []
    for name in list(inspect.signature(function).parameters)[1:]:
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


def always(invariant: str) -> Callable[[Method], Method]:
    """Declare what must hold in every reachable state, under an id of the catalogue such as "FINAL-1"."""
    if not re.fullmatch(r"[A-Z]+-\d+", invariant):
        raise SpecError(f"{here()}: found the id {invariant!r}; expected one such as 'CONS-1'")
    return _property(invariant, auxiliary=False)


def auxiliary(name: str) -> Callable[[Method], Method]:
    """Declare an invariant that only strengthens proofs; it is proved like the others, under this name."""
    if not re.fullmatch(r"[a-z0-9]+(-[a-z0-9]+)*", name):
        raise SpecError(f"{here()}: found the name {name!r}; expected lower-case words joined by hyphens")
    return _property(name, auxiliary=True)


def _property(invariant: str, *, auxiliary: bool) -> Callable[[Method], Method]:
    def declare(method: Method) -> Method:
        parameters = _parameters(method)
        for parameter in parameters:
            if isinstance(parameter.domain, Range):
                raise SpecError(
                    f"{_place(method)}: parameter `{parameter.name}` of a property is a number; "
                    "expected a finite sort"
                )
        method.__dict__["_holdfast"] = PropertyDeclaration(
            invariant, method.__name__, method, parameters, _sentence(method), auxiliary, _place(method)
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
            self.require(*conditions)

    def scope(self) -> Mapping[str, str]:
        """Limits that only the search has, by name, as evidence prints them beside the sizes and ranges."""
        return {}

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
