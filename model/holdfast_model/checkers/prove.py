"""Induction over unbounded integers, one action and property at a time, from any state that satisfies them all.

The base case is that each property holds at first ("init"). The step is that each action keeps each property, from
every state, reachable or not, in which all properties of the run hold. A property alone is seldom inductive, so every
auxiliary invariant of the model joins each run, and with them that no `Nat` is below zero (`declared-ranges`). All
that is assumed is proved in the same run: if one obligation is not proved, the verdict is not "held".

A property of steps has no base case and is never assumed: its obligation is that each step, from such a state,
satisfies it. Goals and eventualities speak of what can be reached, which induction does not decide.

A solver sees little of it. What the guard and the properties say first rewrites the property after the step
(`knowledge.py`); a choice in the guard, or a counter of slots, is looked at value by value; sums cancel as
polynomials (`polynomials.py`); what is left is asked with the facts near to it, and with all facts only where those
do not suffice; and questions that differ only by names are asked once (`canonical.py`). A property that a step leaves
as it is, term for term, needs no solver. Each refutation is checked by interpreting the step on plain ints. An action
whose guard no state can satisfy would keep everything for no reason: its obligations are not attempted, and the run
is inconclusive.

With any number of members of a sort, families over it are tables and their totals sums; the laws of sums (`sums.py`)
join the obligations. A solver may think of tables whose sums no numbers have, so that what it refutes is reported
only as far as few members show it.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from holdfast_model.checkers.knowledge import Knowledge, Supports, is_variable, simplified
from holdfast_model.checkers.obligations import (
    Case,
    Goal,
    Outcome,
    Part,
    Staged,
    below,
    each_after,
    goals_of,
    is_choice,
    label,
    named_members,
    wanted_of,
    without_place,
)
from holdfast_model.checkers.polynomials import Polynomials, conjuncts
from holdfast_model.checkers.questions import Question, Questions
from holdfast_model.checkers.recording import Recording
from holdfast_model.checkers.renaming import TermSymmetry
from holdfast_model.checkers.smt import SOLVER, Answer, Reply
from holdfast_model.checkers.sums import instances, laws_of_sums, sums_of_equals
from holdfast_model.checkers.sums import parts as parts_of_sum
from holdfast_model.errors import SpecError
from holdfast_model.evidence import Obligation, ObligationVerdict, Proof, Verdict
from holdfast_model.spec.language import ActionDeclaration
from holdfast_model.spec.model import Model, Step, SymbolicInstance
from holdfast_model.spec.sorts import Enumeration, Index, Table, size_of, sized
from holdfast_model.spec.terms import (
    Condition,
    Number,
    Operand,
    Operator,
    Term,
    any_member,
    argument,
    at,
    choices_kept_whole,
    negation,
    same,
    substitute,
    walk,
)

QUERY_RESOURCES = 40_000_000
"""The limit of one query in z3's resource units: some ten seconds, where most queries need milliseconds."""

BY_IDENTITY = "identity of terms"
"""Named as the solver of an obligation in which the property after the step is the one before it."""

_VACUOUS = "vacuous: in no state do the properties and the action's guard hold together"

_ENTAILED = Reply(Answer.UNSATISFIABLE, {}, "")

_SLOTS_FEWEST = 3
"""From so many constants on, a number that a step compares with them is looked at value by value."""

OPAQUE_FEWEST = 3
"""From so many members of an ordered sort on, it pays to look for what does not depend on their order."""

_NOTHING: frozenset[int | str] = frozenset()

Progress = Callable[[int, int, str], None]
"""Called before each action with (actions done, actions in all, the action's name)."""


class _Proof(Recording):
    """One run of `prove`."""

    def __init__(self, model: Model, invariants: Sequence[str], *, resources: int, few: Model | None = None) -> None:
        goals, formless = goals_of(model, invariants)
        super().__init__(model, invariants, goals, formless, few)
        self.simplified: dict[Term, Operand] = {}
        self.symbols = model.symbols()
        self.resources = resources
        self.questions = Questions(model, resources=resources)
        self.polynomials = Polynomials()
        self.supports = Supports()
        self.common = Knowledge(self.polynomials, self.supports)
        self.moving: frozenset[int] = frozenset()
        self.natural: dict[Term, Question] = {}
        self.excluding: dict[Question, None] = {}
        self.parts = [
            [(part, self.supports.of(part)) for part in conjuncts(simplified(goal.formula, self.simplified))]
            for goal in self.goals
        ]
        self.symmetry = TermSymmetry.of(
            model.variables, model.spec.sizes, [[part for part, _ in parts] for parts in self.parts]
        )
        self.common_terms: set[Term] = set()
        self.places: dict[frozenset[tuple[type, tuple[int, ...]]], list[frozenset[int]]] = {}
        assumed = [parts for goal, parts in zip(self.goals, self.parts, strict=True) if not goal.of_steps]
        self.known = Knowledge(self.polynomials, self.supports, [part for parts in assumed for part, _ in parts])

    def prove_few(self, few: Model) -> Proof:
        """The same proof for few members."""
        return prove(few, self.invariants, resources=self.resources)

    def action(self, action: ActionDeclaration) -> None:
        """Prove that one action keeps every property."""
        vacuous = _VACUOUS
        try:
            steps = [
                (instance, step)
                for instance in self.model.symbolic_instances(action)
                if (step := self.model.stage(action, instance.arguments)) is not None
            ]
        except SpecError as error:
            if not self.model.unbounded:
                raise
            steps = []
            vacuous = f"the action has no form over any number of members: {without_place(error)}"
        self.instances += len(steps)
        self.excluding = {}
        outcomes = self._with_orders_opaque(action, steps)
        if outcomes is None:
            outcomes = [Outcome() for _ in self.goals]
            if steps:
                staged = self._representatives(steps, self.symmetry)
                common = self._common(steps)
                prepared = self._prepared(common, [each.step for each in staged])
                for each in staged:
                    parts = [
                        [part for part in parts if part.place in kept]
                        for parts, kept in zip(prepared, self._places(each.symmetry), strict=True)
                    ]
                    vacuous = self._judge(common, each, parts, outcomes, vacuous)
                self.instances_proved += len(staged)
        else:
            vacuous = ""
        for goal, outcome in zip(self.goals, outcomes, strict=True):
            self._conclude(action, goal, outcome, vacuous)

    def _judge(
        self, common: Knowledge, staged: Staged, parts: list[list[Part]], outcomes: list[Outcome], vacuous: str
    ) -> str:
        """Add to the outcomes what each case of a step says; why all cases so far might never happen."""
        if common is not self.common:
            self.common, self.natural = common, {}
            self.common_terms = set(walk(common.facts))
        for case in self._cases(common, staged):
            case.named = self._named(case, self.common_terms)
            if vacuous:
                vacuous = self._vacuous(case.known, staged.instance.action)
            for outcome, some in zip(outcomes, parts, strict=True):
                if outcome.refuted is None:
                    self._keeps(case, some, outcome)
        return vacuous

    def _with_orders_opaque(
        self, action: ActionDeclaration, steps: list[tuple[SymbolicInstance, Step]]
    ) -> list[Outcome] | None:
        """What a few steps say of an action whose arguments have an order; None if they do not prove it whole.

        Properties that the members' order does not enter are shown of a few steps, with nothing known of that order;
        the others of one step whose arguments are symbols.
        """
        sorts = [
            p.domain
            for p in action.parameters
            if isinstance(p.domain, type) and issubclass(p.domain, Index) and p.domain not in self.symmetry.free
        ]
        if self.model.unbounded or not steps or max((size_of(sort) for sort in sorts), default=0) < OPAQUE_FEWEST:
            return None
        common = self._common(steps)
        everything = common.everything()
        prepared = [
            [Part((a,), part.support, place, of_step=part.of_step) for place, part, a in each_after(parts)]
            for parts in self._prepared(common, [step for _, step in steps])
        ]
        of_parts = [[part.after[0] for part in parts] for parts in prepared]
        symmetry = TermSymmetry.with_orders_opaque(
            self.model.variables,
            self.model.spec.sizes,
            sorts,
            [*everything, *(a for some in of_parts for a in some)],
        ).mapping([everything])
        if not symmetry.opaque.intersection(sorts, symmetry.free):
            return None
        count = len(self.symbols)
        moving_after = frozenset(count + position for position in self.moving)
        opening: dict[Term, Operand] = {}
        opening_of_steps: dict[Term, Operand] = {}
        alike: list[list[Part]] = []
        for parts, some in zip(prepared, of_parts, strict=True):
            opened = [
                symmetry.opened(part.after[0], opening_of_steps, moving_after, self.supports)
                if part.of_step
                else symmetry.opened(part.after[0], opening, self.moving, self.supports)
                for part in parts
            ]
            is_alike = symmetry.maps([some]) and not any(symmetry.signatures.opaque(t) for t in walk(opened))
            alike.append([replace(p, after=(a,)) for p, a in zip(parts, opened, strict=True)] if is_alike else [])
        outcomes = [Outcome() for _ in self.goals]
        few = self._representatives(steps, symmetry)
        everywhere: dict[Term, Operand] = {}
        common_opened = Knowledge(
            self.polynomials,
            self.supports,
            [symmetry.opened(fact, everywhere, _NOTHING, self.supports) for fact in everything],
        )
        for each in few:
            if self._vacuous(common.and_also([each.instance.assumption, each.step.guard]), action):
                return None
            guard = symmetry.opened(each.step.guard, everywhere, _NOTHING, self.supports)
            updates = {
                p: symmetry.opened(new, everywhere, _NOTHING, self.supports) for p, new in each.step.updates.items()
            }
            opened_step = replace(each, step=Step(guard, updates))  # type: ignore[arg-type]  # a guard is a formula
            kept = [
                [some[place] for place in each.symmetry.representatives(of_some)] if some else []
                for some, of_some in zip(alike, of_parts, strict=True)
            ]
            self._judge(common_opened, opened_step, kept, outcomes, "")
        others = [[] if some else parts for some, parts in zip(alike, prepared, strict=True)]
        if any(others):
            symbolic = self._with_symbols(action, sorts)
            if symbolic is None:
                return None
            self._judge(common, symbolic, others, outcomes, "")
            self.instances_proved += 1
        if any(outcome.refuted or outcome.unknown for outcome in outcomes):
            return None
        self.instances_proved += len(few)
        return outcomes

    def _with_symbols(self, action: ActionDeclaration, sorts: list[type]) -> Staged | None:
        """The step with symbols for its arguments of these sorts; None where it has no such form."""
        instance = next(self.model.symbolic_instances(action))
        arguments = tuple(
            argument(p.name, p.domain) if isinstance(p.domain, type) and p.domain in sorts else given
            for p, given in zip(action.parameters, instance.arguments, strict=True)
        )
        if any(isinstance(a, Index | Enumeration) for a in arguments):
            return None
        try:
            step = self.model.stage(action, arguments)
        except SpecError:
            return None
        symbolic = SymbolicInstance(action, arguments, instance.assumption)
        return None if step is None else self._staged(symbolic, step, TermSymmetry.none(self.symmetry.signatures))

    def _common(self, steps: list[tuple[SymbolicInstance, Step]]) -> Knowledge:
        """What holds before each of these steps."""
        guards = [dict.fromkeys(conjuncts(step.guard)) for _, step in steps]
        return self.known.and_also(fact for fact in guards[0] if all(fact in guard for guard in guards))

    def _representatives(self, steps: list[tuple[SymbolicInstance, Step]], symmetry: TermSymmetry) -> list[Staged]:
        """Steps of which every other one is a renamed one."""
        found: dict[object, Staged] = {}
        for instance, step in steps:
            key = symmetry.signature(step.updates, step.guard, symmetry.first_named(named_members(instance)))
            if key not in found:
                found[key] = self._staged(instance, step, symmetry.without(frozenset(named_members(instance))))
        return list(found.values())

    def _places(self, symmetry: TermSymmetry) -> list[frozenset[int]]:
        """The conjuncts of each property of which every other one is a renamed one."""
        key = frozenset(symmetry.free.items())
        if key not in self.places:
            self.places[key] = [
                frozenset(symmetry.representatives([part for part, _ in parts])) for parts in self.parts
            ]
        return self.places[key]

    def _staged(self, instance: SymbolicInstance, step: Step, symmetry: TermSymmetry) -> Staged:
        updates = {p: simplified(new, self.simplified) for p, new in step.updates.items()}
        compared: dict[Number, list[int]] = {}
        for term in walk(updates.values()):
            if term.operator is Operator.EQUAL:
                number, constant = term.arguments
                known = isinstance(constant, Term) or not is_variable(number)
                if not known and isinstance(number, Number) and number.sort is int:
                    compared.setdefault(number, []).append(int(constant))
        return Staged(instance, Step(step.guard, updates), symmetry.keeping(updates, step.guard), compared)

    def _prepared(self, common: Knowledge, steps: list[Step]) -> list[list[Part]]:
        """The properties with what is settled after all of these steps."""
        settled: dict[int, Operand] = {}
        moving = self.moving = frozenset(position for step in steps for position in step.updates)
        for position, symbol in enumerate(self.symbols):
            value = common.rewritten(steps[0].updates.get(position, symbol))
            if not isinstance(value, Term) and (
                position not in moving
                or all(same(common.rewritten(step.updates.get(position, symbol)), value) for step in steps)
            ):
                settled[position] = value
        memo: dict[int, Operand] = {}
        still: dict[Term, Operand] = {}
        count = len(self.symbols)
        # Of the state after the step, a property of steps need only distinguish what moves and is not settled.
        resting = {count + position: symbol for position, symbol in enumerate(self.symbols) if position not in moving}
        resting |= {count + position: value for position, value in settled.items()}
        memo_of_steps: dict[Term, Operand] = {}
        prepared: list[list[Part]] = []
        for goal, conditions in zip(self.goals, self.parts, strict=True):
            prepared.append([])
            for place, (before, support) in enumerate(conditions):
                if goal.of_steps:
                    after = conjuncts(common.after(before, resting, memo_of_steps))
                    if after:
                        prepared[-1].append(Part(tuple(after), support, place, of_step=True))
                    continue
                if support.isdisjoint(moving):
                    continue
                after = [
                    part
                    for part in conjuncts(substitute(before, settled, memo=memo))
                    # What is settled and speaks of nothing that moves is known before the step already, or not.
                    if not self.supports.of(part).isdisjoint(moving) or common.after(part, {}, still) is not True
                ]
                if after:
                    prepared[-1].append(Part(tuple(after), support, place))
        return prepared

    def _cases(self, common: Knowledge, staged: Staged) -> Iterator[Case]:
        """The ways in which the guard can hold: one for each alternative in it about what is finite."""
        support = self.supports.of(staged.step.guard)
        waiting = [common.and_also([staged.instance.assumption, staged.step.guard])]
        while waiting:
            known = waiting.pop()
            if known.contradictory:
                continue
            choice = next((f for f in known.facts if is_choice(f) and self.supports.of(f) <= support), None)
            if choice is None and (slot := self._slot(known, staged)) is not None:
                waiting += self._by_slot(known, *slot)
                continue
            if choice is None:
                if self.model.unbounded:
                    known = known.and_also(self._parts(known, staged.step))
                values = {p: known.rewritten(new) for p, new in staged.step.updates.items()}
                # What comes down to what it was is not changed: a slot, say, that is not the one in this case.
                changed = {p: v for p, v in values.items() if not same(v, known.rewritten(self.symbols[p]))}
                yield self._case(staged, known, changed)
                continue
            first = choice.arguments[0]
            waiting.append(known.and_also([negation(first)]))  # type: ignore[arg-type]  # a formula
            waiting.append(known.and_also([first]))

    def _case(self, staged: Staged, known: Knowledge, values: dict[int, Operand]) -> Case:
        count = len(self.symbols)
        after = {count + position: known.rewritten(self.symbols[position]) for position in self.moving}
        after |= {count + position: value for position, value in values.items()}
        return Case(staged, known, values, {}, after)

    def _slot(self, known: Knowledge, staged: Staged) -> tuple[Number, list[int]] | None:
        """A number that the step compares with several constants, as a counter of slots is, if it is not known."""
        for number, constants in staged.compared.items():
            open_ones = [c for c in constants if not isinstance(known.rewritten(number == c), bool)]
            if len(open_ones) >= _SLOTS_FEWEST:
                return number, open_ones
        return None

    def _by_slot(self, known: Knowledge, number: Number, constants: list[int]) -> list[Knowledge]:
        """One case for each constant that the number may be, and one for none of them unless the facts exclude it."""
        others = known.and_also([negation(number == constant) for constant in constants])
        cases = [known.and_also([number == constant]) for constant in constants]
        question = self.questions.ask(others.within(self.supports.of(number)))
        if question.answer is not Answer.UNSATISFIABLE:
            return [*cases, others]
        self.excluding[question] = None
        return cases

    def _parts(self, known: Knowledge, step: Step) -> list[Condition]:
        """What is known of each table without negative numbers at the members that the step names."""
        terms = walk([step.guard, *step.updates.values()])
        indices = dict.fromkeys(
            known.rewritten(t.arguments[1]) for t in terms if t.operator in (Operator.AT, Operator.STORE)
        )
        anyone = any_member(self.model.unbounded[0])
        natural = [
            symbol
            for symbol, variable in zip(self.symbols, self.model.variables, strict=True)
            if variable.sort is Table and known.entails(negation(below(at(symbol, anyone), 0)))
        ]
        of_parts = [fact for table in natural for fact in parts_of_sum(known.rewritten(table), indices)]
        named = [index for index in indices if index is not anyone]
        return [
            *of_parts,
            *(said for fact in known.facts for said in sums_of_equals(fact)),
            *(said for fact in known.facts for said in instances(fact, named, self.model.unbounded[0])),
        ]

    def _vacuous(self, known: Knowledge, action: ActionDeclaration) -> str:
        """Why an action might never be taken; empty when some state satisfies what is known in one of its cases."""
        question, reply = self.questions.values(known.everything())
        question.decides["", "", action.name] = None
        if reply.answer is Answer.SATISFIABLE:
            return ""
        if reply.answer is Answer.UNKNOWN:
            return f"no state was found in which the properties and the action's guard hold: {reply.reason}"
        return _VACUOUS

    def _keeps(self, case: Case, parts: list[Part], outcome: Outcome) -> None:
        for part in parts:
            if part.support.isdisjoint(case.values) and not part.of_step:
                continue
            for after in part.after:
                # Several properties may come down to the same, such as that a balance is not negative.
                shown = case.shown.get((after, part.of_step))
                if shown is None:
                    found = Outcome()
                    if not (case.named and self._kept_by_named(case.named, after, found, of_step=part.of_step)):
                        self._shows(case, after, found, of_step=part.of_step)
                    outcome.refuted, outcome.unknown = found.refuted, outcome.unknown or found.unknown
                    if found.refuted is not None:
                        outcome.deciding |= found.deciding
                        return
                    shown = tuple(found.deciding)
                    if not found.unknown:
                        case.shown[after, part.of_step] = shown
                outcome.deciding |= dict.fromkeys(shown)

    def _shows(self, case: Case, after: Operand, outcome: Outcome, *, of_step: bool) -> None:
        for goal in self._goals_after(case, after, of_step=of_step):
            reply = self._entailed(case, goal, outcome)
            if reply.answer is Answer.SATISFIABLE:
                outcome.refuted = case, reply
                return
            if reply.answer is Answer.UNKNOWN and not outcome.unknown:
                outcome.unknown = f"{label(case.staged.instance)}: {reply.reason}"

    def _goals_after(self, case: Case, after: Operand, *, of_step: bool) -> Iterator[Operand]:
        """What is left to show of a conjunct after the step."""
        known = case.known
        left = (
            known.after(after, case.values_after, case.memo_of_steps)
            if of_step
            else known.after(after, case.values, case.memo)
        )
        for goal in conjuncts(left):
            reduced = case.known.reduced(goal)
            if reduced is not True:
                yield reduced

    def _kept_by_named(self, case: Case, after: Operand, outcome: Outcome, *, of_step: bool) -> bool:
        """Whether a step keeps a conjunct, whatever the terms are that were given names."""
        return all(self._near(case, goal, outcome) for goal in self._goals_after(case, after, of_step=of_step))

    def _named(self, case: Case, seen: set[Term]) -> Case | None:
        """The case with a name for each new value that the facts speak of, too, as they do of a replay."""
        names: dict[Term, Operand] = {
            value: argument(f"{self.model.variables[position].name}'", value.sort)
            for position, value in case.values.items()
            if isinstance(value, Term) and value.operator is Operator.ITE and value in seen
        }
        if not names:
            return None
        known = case.known.naming(names)
        values = {p: known.rewritten(new) for p, new in case.values.items()}
        return self._case(case.staged, known, values)

    def _near(self, case: Case, goal: Operand, outcome: Outcome) -> bool:
        """Whether the facts near to a goal exclude that it is false."""
        for weaker in self._without_unmoved(case, goal, outcome):
            near = self.supports.of(weaker) | self.supports.of(case.staged.step.guard)
            broken = negation(weaker)  # type: ignore[arg-type]  # a goal is a formula
            question = self.questions.ask([*case.known.within(near), broken])
            if question.answer is Answer.UNSATISFIABLE:
                outcome.deciding[question] = None
                return True
        return False

    def _entailed(self, case: Case, goal: Operand, outcome: Outcome) -> Reply:
        """Whether the case's facts exclude that the goal is false: first by those near to it, then by all."""
        if self._near(case, goal, outcome):
            return _ENTAILED
        broken = negation(goal)  # type: ignore[arg-type]  # a goal is a formula
        question, reply = self.questions.values([*case.known.everything(), broken])
        outcome.deciding[question] = None
        return reply

    def _without_unmoved(self, case: Case, goal: Operand, outcome: Outcome) -> list[Operand]:
        """Goals that each entail `goal`: without addends that the step leaves alone and that are not negative."""
        addends = self.polynomials.addends(goal)
        dropped = []
        for addend in addends:
            support = self.supports.of(addend)
            if support.isdisjoint(case.values):
                negative = addend < 0  # type: ignore[operator]  # an addend is an integer
                question = self.natural.get(addend)
                if question is None:
                    question = self.questions.ask([*self.common.within(support), negative])
                    self.natural[addend] = question
                if question.answer is Answer.UNSATISFIABLE:
                    outcome.deciding[question] = None
                    dropped.append(addend)
        return [self.polynomials.without(goal, dropped), goal] if dropped else [goal]

    def _conclude(self, action: ActionDeclaration, goal: Goal, outcome: Outcome, vacuous: str) -> None:
        if not vacuous:
            for question in [*outcome.deciding, *self.excluding]:
                question.decides[goal.invariant, goal.name, action.name] = None
        if vacuous:
            self.record(goal, action.name, ObligationVerdict.NOT_ATTEMPTED, reason=vacuous)
        elif outcome.refuted is not None:
            if self.model.unbounded:
                self.refuted_at_few(action, goal)
            else:
                self.refuted(action, *outcome.refuted, goal)
        elif outcome.unknown:
            self.record(goal, action.name, ObligationVerdict.UNKNOWN, reason=outcome.unknown)
        else:
            solver = SOLVER if outcome.deciding else BY_IDENTITY
            self.record(goal, action.name, ObligationVerdict.PROVED, solver=solver)


def _without_any_form(model: Model, invariants: Sequence[str], reason: str) -> Proof:
    """The evidence about a model that cannot be stated for any number of members at all."""
    wanted = wanted_of(model, invariants)
    return Proof(
        model=model.name,
        verdict=Verdict.INCONCLUSIVE,
        bounds=(),
        obligations=tuple(
            Obligation(
                invariant=p.invariant,
                property=p.name,
                action="",
                verdict=ObligationVerdict.NOT_ATTEMPTED,
                solver="",
                auxiliary=p.invariant not in wanted,
                reason=f"the model has no form over any number of members: {reason}",
            )
            for p in model.properties
            if p.strengthens or p.invariant in wanted
        ),
    )


def prove(
    model: Model,
    invariants: Sequence[str] = (),
    *,
    progress: Progress | None = None,
    resources: int = QUERY_RESOURCES,
    any_number_of: str = "",
    second_opinion: bool = False,
    export: Path | None = None,
) -> Proof:
    """The obligations that together show these invariants (all of the model's, if none is named) for every sequence.

    Auxiliary invariants are proved in the same run. An invariant without a formula in this model is reported as not
    attempted. `resources` limits each query in z3's units; what exceeds it is `unknown`, which is never green.
    With `any_number_of` ("accounts") the proof is for every number of them: families of numbers over them are
    tables, their totals sums, and the laws by which a sum follows its table are proved in the same run. What cannot
    be said so is `not-attempted`. A refutation is shown at the model's own number of them.
    With `second_opinion` cvc5 is asked as well, within limits of its own that are part of the evidence. With `export`
    the queries are written to that folder.
    """
    few = model if any_number_of else None
    if any_number_of:
        try:
            model = model.with_any_number_of(any_number_of)
        except SpecError as error:
            return _without_any_form(model, invariants, without_place(error))
    with sized(model.spec.sizes), choices_kept_whole():
        run = _Proof(model, invariants, resources=resources, few=few)
        run.missing(invariants)
        if model.unbounded:
            run.obligations += laws_of_sums(run.questions, model.unbounded[0])
        run.without_form()
        run.base()
        for done, action in enumerate(model.actions):
            if progress is not None:
                progress(done, len(model.actions), action.name)
            run.action(action)
        opinion = run.questions.second_opinion(progress) if second_opinion else None
        if export is not None:
            run.questions.export(export, run.obligations)
    return Proof(
        model=model.name,
        verdict=run.verdict(),
        bounds=(*model.bounds(explored=False), *run.by_names()),
        obligations=tuple(run.obligations),
        second_opinion=opinion,
    )
