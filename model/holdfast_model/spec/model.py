"""A spec at chosen sizes: its variables, its steps as terms, and its interpretation on plain ints."""

import copy
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from itertools import product
from typing import TypeAlias, TypeVar

from holdfast_model.errors import HoldfastError, SpecError
from holdfast_model.evidence import Bound
from holdfast_model.spec.language import (
    ActionDeclaration,
    Parameter,
    PropertyDeclaration,
    PropertyKind,
    Range,
    Response,
    Spec,
)
from holdfast_model.spec.location import of_traceback
from holdfast_model.spec.sorts import UNBOUNDED, Index, Loop, is_unbounded, members, printed, sized
from holdfast_model.spec.terms import (
    Condition,
    Operand,
    Operator,
    Term,
    all_of,
    any_member,
    any_of,
    argument,
    same,
    variable,
    walk,
)
from holdfast_model.spec.variables import Disabled, Limit, Run, Variable, first_value

State: TypeAlias = tuple[int, ...]
Arguments: TypeAlias = tuple[int, ...]
Result = TypeVar("Result")


@dataclass(frozen=True, slots=True)
class Instance:
    """An action with concrete arguments."""

    action: ActionDeclaration
    arguments: Arguments

    @property
    def label(self) -> str:
        """The step as traces print it, such as `place(u1, buy, price=1, size=2)`; without arguments the bare name."""
        if not self.arguments:
            return self.action.name
        return f"{self.action.name}({', '.join(printed_arguments(self.action, self.arguments))})"


def printed_arguments(action: ActionDeclaration, arguments: Arguments) -> list[str]:
    """Each argument as it is printed: members of sorts by name, numbers as `name=value`."""
    return [
        f"{parameter.name}={int(value)}"
        if isinstance(parameter.domain, Range)
        else printed(parameter.domain, int(value))
        for parameter, value in zip(action.parameters, arguments, strict=True)
    ]


@dataclass(frozen=True, slots=True)
class Step:
    """An action as terms over the state before it: when it can be taken, and what each changed variable becomes."""

    guard: Condition
    updates: Mapping[int, Operand]


@dataclass(frozen=True, slots=True)
class SymbolicInstance:
    """An action whose finite arguments are concrete and whose numbers are symbols with limits (`assumption`)."""

    action: ActionDeclaration
    arguments: tuple[Operand, ...]
    assumption: Condition


def invariants_of(spec: type[Spec]) -> tuple[str, ...]:
    """The catalogue ids that a spec has formulas for, of states or of steps, in the order written."""
    kinds = {PropertyKind.ALWAYS, PropertyKind.STEP}
    return tuple(
        dict.fromkeys(p.invariant for p in spec.declared_properties() if p.kind in kinds and not p.auxiliary)
    )


class Model:
    """A spec instance ready to be checked. `name` is as `load_model` normalises it."""

    def __init__(self, spec: Spec, *, name: str = "") -> None:
        self.spec = spec
        self.name = name or type(spec).__name__
        self.unbounded: tuple[type[Index], ...] = tuple(
            sort for sort, size in spec.sizes.items() if size == UNBOUNDED and issubclass(sort, Index)
        )
        self.actions = type(spec).declared_actions()
        declared = type(spec).declared_properties()
        self.properties = tuple(p for p in declared if p.kind in {PropertyKind.ALWAYS, PropertyKind.STEP})
        """What must hold of every state (`@always`, `@auxiliary`) or of every step (`@step`)."""
        self.goals = tuple(
            p for p in declared if p.kind is PropertyKind.SOMETIMES and (p.meant_for is None or p.meant_for(spec))
        )
        self.responses = tuple(p for p in declared if p.kind is PropertyKind.EVENTUALLY)
        with sized(spec.sizes):
            self.variables: tuple[Variable, ...] = _guarded(spec.layout).variables
            self.initial: State = tuple(v.initial for v in self.variables)
            self._ghosts = frozenset(position for position, v in enumerate(self.variables) if v.ghost)
            self._domains = {
                (action.name, parameter.name): self._members(parameter)
                for action in self.actions
                for parameter in action.parameters
                if not isinstance(parameter.domain, Range)
            }
        if not self.actions:
            raise SpecError(f"{type(spec).__name__} has no action; expected at least one method under @action")

    @staticmethod
    def _members(parameter: Parameter) -> list[Operand]:
        """What a parameter can be: all members of its sort, of an unbounded one a symbol."""
        assert not isinstance(parameter.domain, Range)
        if is_unbounded(parameter.domain):
            return [argument(parameter.name, parameter.domain)]
        return list(members(parameter.domain))

    def with_any_number_of(self, counted: str) -> "Model":
        """The same model with any number of members of one sort, known by what it is counted as ("accounts").

        It can be proved and not searched: families of numbers over the sort are tables, and their totals sums.
        HoldfastError where the model has no such sort.
        """
        sort = next((s for s in self.spec.sizes if issubclass(s, Index) and s.counted == counted), None)
        if sort is None:
            raise HoldfastError(f"model {self.name} has no sort counted as {counted!r}, so not any number of them")
        spec = copy.copy(self.spec)
        spec.__dict__.update(sizes={**self.spec.sizes, sort: UNBOUNDED}, root=spec)
        spec.__dict__.pop("_layouts", None)
        return Model(spec, name=self.name)

    @property
    def invariants(self) -> tuple[str, ...]:
        """The catalogue ids that this model has formulas for, in the order written."""
        return invariants_of(type(self.spec))

    @property
    def abstraction(self) -> tuple[Variable, ...]:
        """The variables that an engine must have: all but the ghosts."""
        return tuple(v for v in self.variables if not v.ghost)

    def limit(self, given: Limit | None) -> int | None:
        """A limit of a range as a number."""
        return given(self.spec) if callable(given) else given

    def bounds(self, *, explored: bool) -> tuple[Bound, ...]:
        """The limits within which a verdict about this model holds: of a search, or of a proof."""
        found: list[Bound] = [
            Bound(name=sort.counted, value=str(size) if size else "any number")
            for sort, size in self.spec.sizes.items()
            if hasattr(sort, "counted")
        ]
        ranges: dict[str, str] = {}
        for action in self.actions:
            for parameter in action.parameters:
                if isinstance(parameter.domain, Range):
                    least, greatest = self._limits(action, parameter, explored=explored)
                    ranges[parameter.name] = (
                        f"{'' if least is None else least}..{'' if greatest is None else greatest}"
                    )
        for name, text in ranges.items():
            value = (
                "unbounded integers" if text == ".." else f"integers from {text[:-2]}" if text[-2:] == ".." else text
            )
            found.append(Bound(name=name, value=value))
        if explored:
            found.extend(Bound(name=name, value=value) for name, value in self.spec.scope().items())
        else:
            found.append(Bound(name="numbers in the state", value="unbounded integers"))
        return tuple(found)

    def _limits(
        self, action: ActionDeclaration, parameter: Parameter, *, explored: bool
    ) -> tuple[int | None, int | None]:
        domain = parameter.domain
        assert isinstance(domain, Range)
        least, greatest = self.limit(domain.least), self.limit(domain.greatest)
        if explored:
            upto = self.limit(domain.explored_upto)
            greatest = upto if greatest is None else greatest if upto is None else min(upto, greatest)
            if least is None or greatest is None:
                raise HoldfastError(
                    f"{action.declared_at}: argument `{parameter.name}` of `{action.name}` has no finite range; "
                    "to explore this model its Range needs `least` and `greatest` or `explored_upto`"
                )
        return least, greatest

    def instances(self) -> list[Instance]:
        """Every action with every combination of arguments, in a fixed order. Needs finite ranges."""
        found: list[Instance] = []
        for action in self.actions:
            domains: list[list[int]] = []
            for parameter in action.parameters:
                if isinstance(parameter.domain, Range):
                    least, greatest = self._limits(action, parameter, explored=True)
                    assert least is not None
                    assert greatest is not None
                    domains.append(list(range(least, greatest + 1)))
                else:
                    domains.append([v for v in self._domains[action.name, parameter.name] if isinstance(v, int)])
            found.extend(Instance(action, arguments) for arguments in product(*domains))
        return found

    def symbolic_instances(self, action: ActionDeclaration, *, exploring: bool = False) -> Iterator[SymbolicInstance]:
        """The action with every combination of finite arguments; its numbers stay symbols.

        `exploring` applies the search's limits to the numbers. HoldfastError where one then has no finite range.
        """
        domains: list[list[Operand]] = []
        limits: list[Condition] = []
        for parameter in action.parameters:
            if isinstance(parameter.domain, Range):
                symbol = argument(parameter.name)
                least, greatest = self._limits(action, parameter, explored=exploring)
                limits += [symbol >= least] if least is not None else []
                limits += [symbol <= greatest] if greatest is not None else []
                domains.append([symbol])
            else:
                domains.append(list(self._domains[action.name, parameter.name]))
        for arguments in product(*domains):
            yield SymbolicInstance(action, arguments, all_of(*limits))

    def stage(
        self, action: ActionDeclaration, arguments: tuple[Operand, ...], *, exploring: bool = False
    ) -> Step | None:
        """The step as terms; None when its guard is false in every state. `exploring` applies the search's limits."""
        before = self.symbols()
        cells = list(before)
        run = Run(symbolic=True, may_require=True, exploring=exploring)
        try:
            self._run(run, cells, action.function, arguments)
        except Disabled:
            return None
        guard = all_of(*run.guard)
        changed = {p: new for p, (new, old) in enumerate(zip(cells, before, strict=True)) if not same(new, old)}
        if self._ghosts:
            self._ghosts_decide_nothing(action, guard, changed)
        guard = all_of(guard, *run.limits)
        return None if guard is False else Step(guard, changed)

    def _ghosts_decide_nothing(
        self, action: ActionDeclaration, guard: Condition, changed: dict[int, Operand]
    ) -> None:
        """SpecError if the guard or a variable that is no ghost depends on a ghost."""
        decided = [guard, *(new for position, new in changed.items() if position not in self._ghosts)]
        for term in walk(decided):
            if term.operator is Operator.VARIABLE and term.payload in self._ghosts:
                assert isinstance(term.payload, int)
                on_guard = any(t is term for t in walk([guard]))
                subject = "its guard" if on_guard else "a variable that is no ghost"
                raise SpecError(
                    f"{action.declared_at}: in `{action.name}` {subject} depends on the ghost "
                    f"`{self.variables[term.payload].name}`; a ghost only records what happened"
                )

    def symbols(self) -> list[Operand]:
        """Each variable of the state as a term."""
        return [variable(position, v.sort) for position, v in enumerate(self.variables)]

    def formula(self, declared: PropertyDeclaration, *, cells: list[Operand] | None = None) -> Condition:
        """The property as a condition over the state's variables (or over other terms in their place)."""
        run = Run(symbolic=True, may_require=False)
        return self._evaluate(run, declared, self.symbols() if cells is None else cells)

    def step_formula(self, declared: PropertyDeclaration, updates: Mapping[int, Operand]) -> Condition:
        """The step property as a condition over the state before a step that makes these updates."""
        before = self.symbols()
        after = [updates.get(position, old) for position, old in enumerate(before)]
        return self._evaluate(Run(symbolic=True, may_require=False), declared, before, after)

    def symbols_after(self) -> list[Operand]:
        """Each variable of the state after a step as a term: in the places behind those before it."""
        return [variable(len(self.variables) + position, v.sort) for position, v in enumerate(self.variables)]

    def transition_formula(self, declared: PropertyDeclaration) -> Condition:
        """The step property as a condition over the state before any step and that after it."""
        run = Run(symbolic=True, may_require=False)
        return self._evaluate(run, declared, self.symbols(), self.symbols_after())

    def response_formulas(self, declared: PropertyDeclaration) -> list[Response]:
        """The two conditions of an `@eventually`, for each combination of its parameters' values."""
        run = Run(symbolic=True, may_require=False)
        return [found for found in self._results(run, declared, self.symbols()) if isinstance(found, Response)]

    def initial_terms(self) -> list[Operand]:
        """The first state, its constants knowing their sorts."""
        return [first_value(v) for v in self.variables]

    def step(self, instance: Instance, state: State, *, exploring: bool = False) -> State | None:
        """The state after the step, interpreted on plain ints; None where its guard is false.

        The result may leave the declared ranges: see `outside`.
        """
        cells: list[Operand] = list(state)
        run = Run(symbolic=False, may_require=True, exploring=exploring)
        try:
            self._run(run, cells, instance.action.function, instance.arguments)
        except Disabled:
            return None
        return tuple(int(cell) for cell in cells if not isinstance(cell, Term))

    def successors(self, state: State) -> Iterator[tuple[Instance, State]]:
        """Every step that the search takes in a state, interpreted on plain ints."""
        for instance in self.instances():
            after = self.step(instance, state, exploring=True)
            if after is not None:
                yield instance, after

    def holds(self, declared: PropertyDeclaration, state: State, *, before: State | None = None) -> bool:
        """Whether a property holds in a state, interpreted on plain ints; one of steps also needs the state before.

        A goal holds where it is reached.
        """
        run = Run(symbolic=False, may_require=False)
        if declared.kind is PropertyKind.STEP:
            assert before is not None, "a step has a state before it"
            result = self._evaluate(run, declared, list(before), list(state))
        else:
            result = self._evaluate(run, declared, list(state))
        assert isinstance(result, bool)
        return result

    def responses_hold(self, declared: PropertyDeclaration, state: State) -> list[tuple[bool, bool]]:
        """Both conditions of an `@eventually` in a state, for each combination of its parameters' values."""
        run = Run(symbolic=False, may_require=False)
        return [
            (bool(found.whenever), bool(found.then))
            for found in self._results(run, declared, list(state))
            if isinstance(found, Response)
        ]

    def outside(self, state: State) -> list[tuple[Variable, int]]:
        """The variables whose values have left their declared ranges."""
        return [
            (v, value)
            for v, value in zip(self.variables, state, strict=True)
            if (v.least is not None and value < v.least) or (v.greatest is not None and value > v.greatest)
        ]

    def show(self, state: State) -> dict[str, str]:
        """The state as traces print it: variable instance -> value."""
        return {
            v.name: v.printed(value) if v.sort is int or not self._is_outside(v, value) else str(value)
            for v, value in zip(self.variables, state, strict=True)
        }

    @staticmethod
    def _is_outside(v: Variable, value: int) -> bool:
        return (v.least is not None and value < v.least) or (v.greatest is not None and value > v.greatest)

    def _evaluate(self, run: Run, declared: PropertyDeclaration, *states: list[Operand]) -> Condition:
        results: list[Condition] = self._results(run, declared, *states)  # type: ignore[assignment]  # see `_results`
        return any_of(*results) if declared.kind is PropertyKind.SOMETIMES else all_of(*results)

    def _results(self, run: Run, declared: PropertyDeclaration, *states: list[Operand]) -> list[object]:
        """What the property returns for each combination of its parameters' values: of the kind that it must be."""
        with sized(self.spec.sizes):
            domains = [
                [any_member(p.domain, self._parameter_number(declared, p))]
                if not isinstance(p.domain, Range) and is_unbounded(p.domain)
                else self._members(p)
                for p in declared.parameters
            ]
        before = [list(cells) for cells in states]
        responds = declared.kind is PropertyKind.EVENTUALLY
        further = tuple(self._bound(run, cells) for cells in states[1:])
        results: list[object] = []
        for arguments in product(*domains):
            result = self._run(run, states[0], declared.function, (*further, *arguments))
            if not isinstance(result, Response if responds else bool | Term):
                raise SpecError(
                    f"{declared.declared_at}: `{declared.name}` returned {result!r}; "
                    f"expected {'a Response' if responds else 'a condition'}"
                )
            results.append(result)
        for cells, kept in zip(states, before, strict=True):
            if any(not same(new, old) for new, old in zip(cells, kept, strict=True)):
                raise SpecError(
                    f"{declared.declared_at}: property `{declared.name}` changes the state; only actions may"
                )
        return results

    @staticmethod
    def _parameter_number(declared: PropertyDeclaration, parameter: Parameter) -> int:
        """Which of the property's parameters of one sort this is, from 1."""
        alike = [p.name for p in declared.parameters if p.domain is parameter.domain]
        return alike.index(parameter.name) + 1

    def _bound(self, run: Run, cells: list[Operand]) -> Spec:
        """The spec as a view of a state."""
        bound = copy.copy(self.spec)
        bound.__dict__.update(_run=run, _cells=cells, _base=0, root=bound)
        return bound

    def _run(
        self, run: Run, cells: list[Operand], function: Callable[..., object], arguments: tuple[object, ...]
    ) -> object:
        bound = self._bound(run, cells)
        with sized(self.spec.sizes):
            Loop.restart()
            result = _guarded(lambda: function(bound, *arguments))
            if Loop.unsummed:
                raise SpecError("it loops over a sort that has any number of members, and not in a sum")
            return result


def _guarded(call: Callable[[], Result]) -> Result:
    """The call's result; Python errors in a spec's text become SpecErrors with its line."""
    try:
        return call()
    except (NameError, AttributeError, TypeError, ValueError, LookupError, ArithmeticError) as error:
        place = of_traceback(error.__traceback__)
        raise SpecError(f"{place}: {type(error).__name__}: {error}") from error
