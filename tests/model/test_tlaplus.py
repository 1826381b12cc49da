"""Models as TLA+ modules: the text is read by a parser and evaluated by rules that know nothing of the exporter.

The evaluator below takes TLA+ as TLC does: a disjunction in an action is several ways to take it. So the multiset of
successors, and with it the count of generated states, is compared as well. `test_tlc.py` asks TLC itself.
"""

import re
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TypeAlias

import pytest
import tree_sitter_tlaplus
from tree_sitter import Language, Node, Parser

from holdfast_model.checkers.explore import explore
from holdfast_model.errors import HoldfastError
from holdfast_model.spec import Enum, Formula, Index, Model, Nat, Spec, State, action, always, any_of, ite
from holdfast_model.spec.language import PropertyKind
from holdfast_model.spec.shapes import Cell, Family, Shape, printed_values, shape_of
from holdfast_model.specs import load_model
from holdfast_model.specs.registry import list_models
from holdfast_model.tlaplus import export

pytestmark = pytest.mark.filterwarnings("ignore:int argument support is deprecated:DeprecationWarning")

SLICES = [slice_ for entry in list_models() for slice_ in entry.slices]
LARGE = {"custody+recovery", "custody+maintenance", "custody+replication"}
"""The slices whose text takes the longest to read."""
MODELS = [
    "yardstick",
    "yardstick:log=2",
    "spot",
    *(pytest.param(f"exchange:slice={name}", marks=[pytest.mark.slow] if name in LARGE else []) for name in SLICES),
]

Value: TypeAlias = Any
"""A string, a number, a truth value, a tuple, a function or record (a dict by key), or a set."""
Names: TypeAlias = dict[str, "Value | Later"]
Rule: TypeAlias = Callable[[Names], Value]


class Later:
    """A definition in a LET: evaluated when and if it is used."""

    def __init__(self, rule: Rule, names: Names) -> None:
        self.rule, self.names = rule, names
        self.value: list[Value] = []

    def get(self) -> Value:
        if not self.value:
            self.value.append(self.rule(self.names))
        return self.value[0]


class Contains:
    """A set that is known by what it contains."""

    def __init__(self, contains: Callable[[Value], bool]) -> None:
        self.contains = contains


def is_in(value: Value, members: Value) -> bool:
    return bool(members.contains(value)) if isinstance(members, Contains) else value in members


class Module:
    """A TLA+ module as parsed, and what its definitions mean."""

    def __init__(self, text: str) -> None:
        tree = self._tree = Parser(Language(tree_sitter_tlaplus.language())).parse(text.encode())
        assert not tree.root_node.has_error
        module = next(n for n in tree.root_node.children if n.type == "module")
        self.definitions: dict[str, tuple[list[str], Node]] = {}
        self.variables: list[str] = []
        for node in module.named_children:
            if node.type == "operator_definition":
                name, parameters, body = self._definition(node)
                self.definitions[name] = parameters, body
            elif node.type == "variable_declaration":
                self.variables = [self._text(n) for n in node.named_children if n.type == "identifier"]
        self._rules: dict[tuple[str, int, int], Rule] = {}

    @staticmethod
    def _text(node: Node) -> str:
        assert node.text is not None
        return node.text.decode()

    @staticmethod
    def _field(node: Node, name: str) -> Node:
        # A field of this grammar may have its punctuation, too.
        found = [child for child in node.children_by_field_name(name) if child.is_named]
        assert found, (node.type, name)
        return found[0]

    def _definition(self, node: Node) -> tuple[str, list[str], Node]:
        parameters = [self._text(n) for n in node.children_by_field_name("parameter") if n.is_named]
        return self._text(self._field(node, "name")), parameters, self._field(node, "definition")

    def initial(self) -> dict[str, Value]:
        """The one state that Init describes."""
        _, body = self.definitions["Init"]
        (state,) = self._ways(body, {"'": {}})
        return state

    def successors(self, state: dict[str, Value]) -> Iterator[dict[str, Value]]:
        """The states that Next leads to, as often as TLC finds them."""
        _, body = self.definitions["Next"]
        yield from self._ways(body, {"": state, "'": {}})

    def holds(self, name: str, state: dict[str, Value], after: dict[str, Value] | None = None) -> bool:
        """Whether a definition is true of a state, or of a step."""
        return bool(self._rule(self.definitions[name][1])({"": state, "'": after}))

    def _ways(self, node: Node, names: Names) -> Iterator[dict[str, Value]]:  # noqa: C901, PLR0912 - a table by kind
        """Each way to make a formula of the next state true: the values of the variables so far and further."""
        match node.type:
            case "conj_list":
                yield from self._all(self._items(node), names)
            case "disj_list":
                for item in self._items(node):
                    yield from self._ways(item, names)
            case "bound_infix_op" if self._field(node, "symbol").type == "lor":
                for side in ("lhs", "rhs"):
                    yield from self._ways(self._field(node, side), names)
            case "bound_infix_op" if self._field(node, "symbol").type == "land":
                yield from self._all([self._field(node, "lhs"), self._field(node, "rhs")], names)
            case "bound_infix_op" if self._is_assignment(node, names):
                name = self._assigned(node)
                yield {**names["'"], name: self._rule(self._field(node, "rhs"))(names)}  # type: ignore[dict-item]
            case "bound_prefix_op" if self._field(node, "symbol").type == "unchanged":
                kept = [self._text(n) for n in self._field(node, "rhs").named_children if n.type == "identifier_ref"]
                before: Value = names[""]
                yield {**names["'"], **{name: before[name] for name in kept}}  # type: ignore[dict-item]
            case "parentheses":
                yield from self._ways(node.named_children[0], names)
            case "let_in":
                yield from self._ways(self._field(node, "expression"), self._let(node, names))
            case "bounded_quantification":
                for chosen in self._choices(node, names):
                    yield from self._ways(self._field(node, "expression"), chosen)
            case "bound_op":
                parameters, body = self.definitions[self._text(self._field(node, "name"))]
                given = [self._rule(n)(names) for n in node.children_by_field_name("parameter") if n.is_named]
                inner = {**{key: names[key] for key in ("", "'")}, **dict(zip(parameters, given, strict=True))}
                yield from self._ways(body, inner)
            case "identifier_ref" if self._text(node) in names and isinstance(names[self._text(node)], Later):
                # As TLC: a name stands for its formula, which may have several ways to be true.
                later = names[self._text(node)]
                assert isinstance(later, Later)
                yield from self._ways(self._bodies[id(later)], {**later.names, "'": names["'"]})
            case "identifier_ref" if self._text(node) in self.definitions:
                yield from self._ways(self.definitions[self._text(node)][1], {k: names[k] for k in ("", "'")})
            case _:
                if self._rule(node)(names):
                    yield names["'"]  # type: ignore[misc]  # the next state as far as it is known

    def _all(self, items: list[Node], names: Names) -> Iterator[dict[str, Value]]:
        if not items:
            yield names["'"]  # type: ignore[misc]  # as above
            return
        for after in self._ways(items[0], names):
            yield from self._all(items[1:], {**names, "'": after})

    def _items(self, node: Node) -> list[Node]:
        return [item.named_children[-1] for item in node.named_children if item.type != "comment"]

    def _assigned(self, node: Node) -> str:
        left = self._field(node, "lhs")
        return self._text(self._field(left, "lhs") if left.type == "bound_postfix_op" else left)

    def _is_assignment(self, node: Node, names: Names) -> bool:
        left = self._field(node, "lhs")
        if self._field(node, "symbol").type != "eq":
            return False
        if "" not in names:
            return left.type == "identifier_ref" and self._text(left) in self.variables
        after: Value = names["'"]
        return left.type == "bound_postfix_op" and self._assigned(node) not in after

    def _choices(self, node: Node, names: Names) -> Iterator[Names]:
        chosen: list[Names] = [names]
        for bound in (n for n in node.named_children if n.type == "quantifier_bound"):
            name, members = self._text(self._field(bound, "intro")), self._rule(self._field(bound, "set"))(names)
            chosen = [{**some, name: member} for some in chosen for member in members]
        yield from chosen

    def _let(self, node: Node, names: Names) -> Names:
        inner = dict(names)
        for definition in node.children_by_field_name("definitions"):
            if definition.type != "operator_definition":
                continue
            name, parameters, body = self._definition(definition)
            assert not parameters
            later = Later(self._rule(body), inner)
            self._bodies[id(later)] = body
            inner[name] = later
        return inner

    @property
    def _bodies(self) -> dict[int, Node]:
        found: dict[int, Node] = self.__dict__.setdefault("_let_bodies", {})
        return found

    def _rule(self, node: Node) -> Rule:
        """How an expression is evaluated."""
        key = node.type, node.start_byte, node.end_byte
        if key not in self._rules:
            self._rules[key] = self._made(node)
        return self._rules[key]

    def _made(self, node: Node) -> Rule:  # noqa: C901, PLR0912 - a table by kind
        match node.type:
            case "string":
                text = self._text(node)[1:-1]
                return lambda _: text
            case "nat_number":
                number = int(self._text(node))
                return lambda _: number
            case "boolean":
                truth = self._text(node) == "TRUE"
                return lambda _: truth
            case "parentheses":
                return self._rule(node.named_children[0])
            case "identifier_ref":
                return self._reference(self._text(node))
            case "nat_number_set":
                return lambda _: Contains(lambda value: type(value) is int and value >= 0)
            case "int_number_set":
                return lambda _: Contains(lambda value: type(value) is int)
            case "boolean_set":
                return lambda _: Contains(lambda value: type(value) is bool)
            case "prev_func_val":
                return lambda names: names["@"]
            case "conj_list":
                items = [self._rule(n) for n in self._items(node)]
                return lambda names: all(item(names) for item in items)
            case "if_then_else":
                test, then, otherwise = (self._rule(self._field(node, name)) for name in ("if", "then", "else"))
                return lambda names: then(names) if test(names) else otherwise(names)
            case "let_in":
                body = self._rule(self._field(node, "expression"))
                return lambda names: body(self._let(node, names))
            case "case":
                arms = [
                    [self._rule(n) for n in arm.named_children if n.type != "case_arrow"]
                    for arm in node.named_children
                    if arm.type == "case_arm"
                ]
                return lambda names: next(value(names) for test, value in arms if test(names))
            case "bound_infix_op":
                return self._infix(node)
            case "bound_prefix_op":
                return self._prefix(node)
            case "bound_postfix_op":
                inner = self._rule(self._field(node, "lhs"))
                return lambda names: inner({**names, "": names["'"]})
            case "step_expr_or_stutter":
                return self._rule(node.named_children[0])
            case _:
                return self._structure(node)

    def _reference(self, name: str) -> Rule:
        if name in self.variables:
            return lambda names: names[""][name]  # type: ignore[index]  # the state
        if name in self.definitions:
            parameters, body = self.definitions[name]
            assert not parameters
            rule = self._rule(body)
            known: list[Value] = []

            def constant(_: Names) -> Value:
                if not known:
                    known.append(rule({}))
                return known[0]

            return constant

        def local(names: Names) -> Value:
            found = names[name]
            return found.get() if isinstance(found, Later) else found

        return local

    def _infix(self, node: Node) -> Rule:
        one, other = self._rule(self._field(node, "lhs")), self._rule(self._field(node, "rhs"))
        match self._field(node, "symbol").type:
            case "eq":
                return lambda names: same(one(names), other(names))
            case "neq":
                return lambda names: not same(one(names), other(names))
            case "land":
                return lambda names: one(names) and other(names)
            case "lor":
                return lambda names: one(names) or other(names)
            case "implies":
                return lambda names: not one(names) or other(names)
            case "plus":
                return lambda names: one(names) + other(names)
            case "minus":
                return lambda names: one(names) - other(names)
            case "mul":
                return lambda names: one(names) * other(names)
            case "lt":
                return lambda names: one(names) < other(names)
            case "leq":
                return lambda names: one(names) <= other(names)
            case "dots_2":
                return lambda names: range(one(names), other(names) + 1)
            case "in":
                return lambda names: is_in(one(names), other(names))
            case "times":
                left = self._field(node, "lhs")
                nested = left.type == "bound_infix_op"
                return lambda names: [((*a, b) if nested else (a, b)) for a in one(names) for b in other(names)]
            case symbol:
                raise AssertionError(symbol)

    def _prefix(self, node: Node) -> Rule:
        inner = self._rule(self._field(node, "rhs"))
        match self._field(node, "symbol").type:
            case "lnot":
                return lambda names: not inner(names)
            case "negative":
                return lambda names: -inner(names)
            case "always":
                return inner
            case symbol:
                raise AssertionError(symbol)

    def _structure(self, node: Node) -> Rule:
        parts = [
            n
            for n in node.named_children
            if n.type not in {"all_map_to", "maps_to", "langle_bracket", "rangle_bracket"}
        ]
        match node.type:
            case "record_value":
                inner, name = self._rule(parts[0]), self._text(parts[1])
                return lambda names: inner(names)[name]
            case "function_evaluation":
                function, *given = (self._rule(n) for n in parts)
                if len(given) == 1:
                    return lambda names: function(names)[given[0](names)]
                return lambda names: function(names)[tuple(g(names) for g in given)]
            case "tuple_literal":
                members = [self._rule(n) for n in parts]
                return lambda names: tuple(m(names) for m in members)
            case "finite_set_literal":
                members = [self._rule(n) for n in parts]
                return lambda names: [m(names) for m in members]
            case "record_literal":
                fields = {self._text(k): self._rule(v) for k, v in zip(parts[::2], parts[1::2], strict=True)}
                return lambda names: {name: rule(names) for name, rule in fields.items()}
            case "set_of_records":
                fields = {self._text(k): self._rule(v) for k, v in zip(parts[::2], parts[1::2], strict=True)}
                return lambda names: Contains(
                    lambda value: (
                        value.keys() == fields.keys()
                        and all(is_in(value[name], rule(names)) for name, rule in fields.items())
                    )
                )
            case "set_of_functions":
                domain, image = (self._rule(n) for n in parts)
                return lambda names: Contains(
                    lambda value: (
                        set(value) == set(domain(names))
                        and all(is_in(member, image(names)) for member in value.values())
                    )
                )
            case "function_literal":
                bound, body = parts
                name, domain = self._text(self._field(bound, "intro")), self._rule(self._field(bound, "set"))
                value = self._rule(body)
                return lambda names: {key: value({**names, name: key}) for key in domain(names)}
            case "except":
                function = self._rule(self._field(node, "expr_to_update"))
                updates = [self._update(n) for n in parts if n.type == "except_update"]

                def updated(names: Names) -> Value:
                    found = function(names)
                    for update in updates:
                        found = update(found, names)
                    return found

                return updated
            case kind:
                raise AssertionError(kind)

    def _update(self, node: Node) -> Callable[[Value, Names], Value]:
        def key(step: Node) -> Rule:
            if step.type == "except_update_record_field":
                name = self._text(step.named_children[0])
                return lambda _: name
            given = [self._rule(n) for n in step.named_children]
            return given[0] if len(given) == 1 else lambda names: tuple(rule(names) for rule in given)

        path = [key(step) for step in self._field(node, "update_specifier").named_children]
        new = self._rule(self._field(node, "new_val"))

        def put(function: Value, names: Names, rest: list[Rule]) -> Value:
            if not rest:
                return new({**names, "@": function})
            at = rest[0](names)
            assert at in function
            return {**function, at: put(function[at], names, rest[1:])}

        return lambda function, names: put(function, names, path)


def same(one: Value, other: Value) -> bool:
    """Equality as TLC has it: values of different kinds are a mistake and not unequal."""
    assert type(one) is type(other), (one, other)
    return bool(one == other)


def told(model: Model, state: State) -> dict[str, Value]:
    """A state of a model as values of TLA+."""

    def value(shape: Shape) -> Value:
        match shape:
            case Cell(position, variable):
                if issubclass(variable.sort, bool):
                    return bool(state[position])
                return state[position] if variable.sort is int else variable.printed(state[position])
            case Family(sorts, members):
                return {
                    (
                        str(sorts[0](key[0]))
                        if len(key) == 1
                        else tuple(str(s(k)) for s, k in zip(sorts, key, strict=True))
                    ): value(m)
                    for key, m in members.items()
                }
            case _:
                return {name: value(field) for name, field in shape.fields.items()}

    found: dict[str, Value] = value(shape_of(model))
    return found


def frozen(value: Value) -> Value:
    """The value in a form that can be counted."""
    return tuple(frozen(v) for v in value.values()) if isinstance(value, dict) else value


def read(model: Model, folder: Path) -> Module:
    exported = export(model, folder)
    return Module((folder / f"{exported.name}.tla").read_text("ascii"))


def camel(name: str) -> str:
    return "".join(word.capitalize() for word in name.split("_"))


def search(module: Module) -> tuple[int, int, int]:
    """Distinct states, generated states and depth of a breadth-first search over the text, as TLC counts."""
    frontier = [module.initial()]
    seen = {frozen(frontier[0])}
    generated, depth = 1, 0
    while frontier:
        depth += 1
        further = []
        for state in frontier:
            assert module.holds("TypeOK", state)
            for after in module.successors(state):
                assert after.keys() == state.keys()
                generated += 1
                key = frozen({name: after[name] for name in module.variables})
                if key not in seen:
                    seen.add(key)
                    further.append({name: after[name] for name in module.variables})
        frontier = further
    return len(seen), generated, depth


@pytest.mark.parametrize(
    "name",
    ["exchange:slice=surge,requests=1", "exchange:slice=trading,accounts=1", "exchange:slice=custody,blocks=1"],
)
def test_a_search_over_the_text_counts_what_explore_counts(name: str, tmp_path: Path) -> None:
    model = load_model(name)
    found = explore(model)
    assert found.complete
    assert search(read(model, tmp_path)) == (found.distinct, found.generated, found.depth)


@pytest.mark.parametrize("name", MODELS)
def test_every_step_and_property_of_the_text_is_that_of_the_interpreter(
    name: str, tmp_path: Path, walk_of: Callable[..., list[State]]
) -> None:
    model = load_model(name)
    module = read(model, tmp_path)
    assert module.initial() == told(model, model.initial)
    steps = 0
    for state in walk_of(model, walks=1, steps=7):
        shown = told(model, state)
        assert module.holds("TypeOK", shown)
        for declared in model.properties:
            if declared.kind is PropertyKind.ALWAYS:
                assert module.holds(camel(declared.name), shown) == model.holds(declared, state)
        expected = [after for _, after in model.successors(state)]
        found = list(module.successors(shown))
        assert Counter(frozen({v: after[v] for v in module.variables}) for after in found) == Counter(
            frozen(told(model, after)) for after in expected
        )
        for after in expected[:3]:
            steps += 1
            for declared in model.properties:
                if declared.kind is PropertyKind.STEP:
                    assert module.holds(camel(declared.name), shown, told(model, after)) == model.holds(
                        declared, after, before=state
                    )
    assert steps


BUGS = [
    load_model(f"{entry.name}:{f'slice={bug.slice},' if bug.slice and entry.parts else ''}bug={bug.name}").name
    for entry in list_models()
    if entry.name != "spot"  # the bugs of spot are those of the exchange, in a larger slice
    for bug in entry.bugs
]


@pytest.mark.parametrize("name", BUGS)
def test_every_planted_bug_is_in_the_text(name: str, tmp_path: Path) -> None:
    sound, _, bug = name.rpartition(",bug=") if ",bug=" in name else name.rpartition(":bug=")
    texts = []
    for which in (name, sound):
        model = load_model(which)
        exported = export(model, tmp_path)
        module = Module(exported.module)
        assert module.initial() == told(model, model.initial), bug
        texts.append({name: body.text for name, (_, body) in module.definitions.items()})
    assert texts[0] != texts[1]


@pytest.mark.parametrize(
    "name",
    ["exchange:slice=surge,bug=orders-first", "exchange:slice=trading,bug=cancel-filled", "yardstick:bug=restore"],
)
def test_the_text_says_of_a_counterexample_what_the_search_says(name: str, tmp_path: Path) -> None:
    model = load_model(name)
    module = read(model, tmp_path)
    violations = explore(model, states_max=300_000).violations
    assert violations
    for violation in violations:
        *_, before, after = (told(model, printed_values(model, state.state)) for state in violation.trace)
        assert after in list(module.successors(before))
        of_steps = next(p for p in model.properties if p.name == violation.property).kind is PropertyKind.STEP
        assert not module.holds(camel(violation.property), before if of_steps else after, after)


class Account(Index, prefix="u"):
    """A client."""


class Resembling(Spec):
    """A choice that begins as the read of a family does, and is none."""

    picked = Enum(Account)
    taken = Nat.upto(1).per(Account)
    told = Nat.upto(1)

    def __init__(self) -> None:
        super().__init__(sizes={Account: 2})

    @action
    def take(self, account: Account) -> None:
        """Of one of them."""
        self.taken[account] = 1
        self.picked = account

    @action
    def tell(self) -> None:
        """What the second has taken, and of the first that it has not."""
        self.told = ite(self.picked == Account(1), self.taken[Account(1)], 0)


def test_a_choice_that_only_resembles_a_read_is_written_as_it_is(tmp_path: Path) -> None:
    model = Model(Resembling(), name="resembling")
    found = explore(model)
    module = read(model, tmp_path)
    assert search(module) == (found.distinct, found.generated, found.depth)
    state = {"picked": "u1", "taken": {"u1": 1, "u2": 0}, "told": 0}
    assert state in list(module.successors(state))


class Keyed(Spec):
    """A spec that asks a Python set for an argument, which no symbol is ever in."""

    taken = Nat.upto(1).per(Account)

    def __init__(self) -> None:
        super().__init__(sizes={Account: 3})

    @action
    def take(self, account: Account) -> None:
        """All but the second."""
        self.require(account not in {Account(1), None}, self.taken[account] == 0)
        self.taken[account] += 1


def test_an_argument_that_python_looks_at_becomes_a_constant(tmp_path: Path) -> None:
    model = Model(Keyed(), name="keyed")
    exported = export(model, tmp_path)
    assert '\\/ /\\ account = "u1"' in exported.module
    assert 'account = "u2"' not in exported.module
    found = explore(model)
    assert search(Module(exported.module)) == (found.distinct, found.generated, found.depth) == (4, 5, 3)


class Item(Index, prefix="t"):
    """Members whose names look like those of a LET."""


class Branching(Spec):
    """A step that two reasons allow, and that leads to one state whichever it is."""

    a = Nat.upto(2)
    b = Nat.upto(2)
    bags = Nat.upto(2).per(Item, Item)

    def __init__(self) -> None:
        super().__init__(sizes={Item: 2})

    @action
    def next(self, item: Item) -> None:
        """Named as TLA+ names the whole."""
        self.require(any_of(self.a == 0, self.b == 0), self.a < 2)
        self.a += 1
        with self.when(self.b == 1):
            self.bags[item, item] += 1

    @action
    def fill(self, a: Item, b: Item) -> None:
        """Its parameters have the names of variables."""
        self.require(self.bags[a, b] == 0, a < b)
        self.bags[a, b] += 1
        self.b = 1

    @always("CONS-1")
    def type_ok(self) -> Formula:
        """Named as the module names the ranges."""
        return self.a <= 2


def test_names_never_clash_and_a_disjunction_in_a_guard_is_one_way_to_take_a_step(tmp_path: Path) -> None:
    model = Model(Branching(), name="branching")
    found = explore(model)
    module = read(model, tmp_path)
    assert search(module) == (found.distinct, found.generated, found.depth)
    assert {"Next_", "TypeOk", "ItemRank"} <= set(module.definitions)
    assert module.definitions["Fill"][0] == ["a_", "b_"]


def test_without_the_mark_the_disjunction_would_count_twice(tmp_path: Path) -> None:
    model = Model(Branching(), name="branching")
    exported = export(model, tmp_path)
    assert " = TRUE\n" in exported.module
    found = explore(model)
    assert search(Module(exported.module.replace(" = TRUE\n", "\n")))[1] > found.generated


class Reserved(Spec):
    """A spec with a variable that TLA+ has no room for."""

    vars = Nat.upto(1)

    def __init__(self) -> None:
        super().__init__(sizes={})

    @action
    def fill(self) -> None:
        """It is full."""
        self.vars = 1


def test_a_variable_that_tla_has_no_room_for_is_refused(tmp_path: Path) -> None:
    with pytest.raises(HoldfastError, match="variable `vars` of model reserved has a name that the TLA"):
        export(Model(Reserved(), name="reserved"), tmp_path)


def test_a_folder_that_cannot_be_written_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(HoldfastError, match="cannot be written"):
        export(load_model("yardstick"), tmp_path / "file")


def test_the_module_has_the_shape_that_a_reader_of_tla_expects(tmp_path: Path) -> None:
    exported = export(load_model("exchange:slice=trading"), tmp_path)
    withdraw = exported.module.partition("Withdraw(account, asset, amount) ==\n")[2].partition("\n\n")[0]
    assert withdraw == (
        "    /\\ amount <= live.free[account, asset]\n"
        "    /\\ live' = [live EXCEPT !.free[account, asset] = @ - amount]\n"
        "    /\\ outside' = [outside EXCEPT ![asset] = @ - amount]\n"
        "    /\\ UNCHANGED <<faults, told_status, told_left, traded_with_oneself>>"
    )
    assert (
        "\\E account \\in Account, asset \\in Asset, amount \\in 1..2 : Withdraw(account, asset, amount)"
        in exported.module
    )
    assert re.search(r"^INVARIANT Conservation$", exported.configuration, re.MULTILINE)
    assert re.search(r"^PROPERTY NoOrderComesBack$", exported.configuration, re.MULTILINE)
    assert re.search(r"^\\\* INVARIANT NotRestoredOrder|^\\\* INVARIANT Not", exported.configuration, re.MULTILINE)
