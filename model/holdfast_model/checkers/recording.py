"""The obligations of one run of `prove`, and what is said of each: a refutation with both of its states."""

from abc import ABC, abstractmethod
from collections.abc import Sequence

from msgspec import structs

from holdfast_model.checkers.obligations import Case, Goal, wanted_of
from holdfast_model.checkers.smt import SOLVER, Reply
from holdfast_model.evidence import Bound, Obligation, ObligationVerdict, Proof, Verdict
from holdfast_model.spec.language import ActionDeclaration, PropertyDeclaration, Range
from holdfast_model.spec.model import Instance, Model, printed_arguments
from holdfast_model.spec.terms import Operand, substitute


class Recording(ABC):
    """What a run has found so far."""

    def __init__(
        self,
        model: Model,
        invariants: Sequence[str],
        goals: list[Goal],
        formless: dict[PropertyDeclaration, str],
        few: Model | None,
    ) -> None:
        self.model = model
        self.invariants = tuple(invariants)
        self.goals = goals
        self.formless = formless
        self.few = few
        self.few_proved: Proof | None = None
        self.obligations: list[Obligation] = []
        self.instances = self.instances_proved = 0

    @abstractmethod
    def prove_few(self, few: Model) -> Proof:
        """The same proof for few members."""

    def record(self, goal: Goal, action: str, verdict: ObligationVerdict, **details: object) -> None:
        """Add an obligation about a property under an action."""
        self.obligations.append(
            Obligation(
                invariant=goal.invariant,
                property=goal.name,
                action=action,
                verdict=verdict,
                auxiliary=goal.auxiliary,
                **{"solver": SOLVER, **details},  # type: ignore[arg-type]  # the struct's own fields
            )
        )

    def without_form(self) -> None:
        """Report each property that cannot be said about any number of members."""
        for declared, reason in self.formless.items():
            self.obligations.append(
                Obligation(
                    invariant=declared.invariant,
                    property=declared.name,
                    action="",
                    verdict=ObligationVerdict.NOT_ATTEMPTED,
                    solver="",
                    auxiliary=declared.invariant not in wanted_of(self.model, self.invariants),
                    reason=f"it has no form over any number of members: {reason}",
                )
            )

    def base(self) -> None:
        """Prove that the first state satisfies every property."""
        initial = self.model.initial_terms()
        memo: dict[int, Operand] = {}
        for goal in self.goals:
            if goal.of_steps:
                continue
            at_first = substitute(goal.formula, dict(enumerate(initial)), memo=memo)
            assert isinstance(at_first, bool), "a formula over constants folds to a constant"
            if at_first:
                self.record(goal, "init", ObligationVerdict.PROVED, solver="evaluation")
            else:
                shown = self.model.show(self.model.initial)
                self.record(goal, "init", ObligationVerdict.REFUTED, solver="evaluation", before=shown, after=shown)

    def refuted_at_few(self, action: ActionDeclaration, goal: Goal) -> None:
        """Look for the refutation among few members: a solver's tables may have sums that no numbers have."""
        assert self.few is not None
        if self.few_proved is None:
            self.few_proved = self.prove_few(self.few)
        shown = next(
            (
                o
                for o in self.few_proved.obligations
                if (o.invariant, o.property, o.action) == (goal.invariant, goal.name, action.name)
                and o.verdict is ObligationVerdict.REFUTED
            ),
            None,
        )
        if shown is None:
            reason = "the solver's counterexample is not one among few members, and perhaps none at all"
            self.record(goal, action.name, ObligationVerdict.UNKNOWN, reason=reason)
        else:
            sizes = ", ".join(f"{b.value} {b.name}" for b in self.few_proved.bounds[: len(self.few.spec.sizes)])
            self.obligations.append(structs.replace(shown, reason=f"shown with {sizes}"))

    def refuted(self, action: ActionDeclaration, case: Case, reply: Reply, goal: Goal) -> None:
        """Report a refutation, checked by interpreting the step on plain ints."""
        before = tuple(reply.values[position] for position in range(len(self.model.variables)))
        arguments = tuple(
            reply.values[p.name] if isinstance(p.domain, Range) else int(value)
            for p, value in zip(action.parameters, case.staged.instance.arguments, strict=True)
        )
        after = self.model.step(Instance(action, arguments), before)
        assert after is not None, "solver and interpreter disagree on a guard"
        for other in self.goals:
            judged = None if other.of_steps else other.declared
            assert judged is None or self.model.holds(judged, before), "a refutation starts outside"
        if goal.declared is not None:
            holds = self.model.holds(goal.declared, after, before=before)
            assert not holds, "solver and interpreter disagree on a property"
        printed = printed_arguments(action, arguments)
        self.record(
            goal,
            action.name,
            ObligationVerdict.REFUTED,
            arguments={p.name: t.removeprefix(f"{p.name}=") for p, t in zip(action.parameters, printed, strict=True)},
            before=self.model.show(before),
            after=self.model.show(after),
        )

    def missing(self, invariants: Sequence[str]) -> None:
        """Report each wanted invariant that the model has no formula for."""
        searched = {p.invariant for p in self.model.responses}
        for invariant in dict.fromkeys(invariants):
            if invariant not in self.model.invariants:
                self.obligations.append(
                    Obligation(
                        invariant=invariant,
                        property="",
                        action="",
                        verdict=ObligationVerdict.NOT_ATTEMPTED,
                        solver="",
                        reason="what can be reached is decided by a search, not by induction"
                        if invariant in searched
                        else f"model {self.model.name} has no formula for it",
                    )
                )

    def by_names(self) -> list[Bound]:
        """How many steps stand for how many, where some differ from others only by names of members."""
        if self.instances_proved >= self.instances:
            return []
        return [
            Bound(
                name="steps",
                value=f"{self.instances_proved} stand for {self.instances}; each other one was compared with one of "
                "them and is the same under other names",
            )
        ]

    def verdict(self) -> Verdict:
        """Held only if everything, auxiliary invariants included, was proved and something was asked for."""
        verdicts = {o.verdict for o in self.obligations}
        if ObligationVerdict.REFUTED in verdicts:
            return Verdict.VIOLATED
        main = any(not o.auxiliary for o in self.obligations)
        return Verdict.HELD if main and verdicts == {ObligationVerdict.PROVED} else Verdict.INCONCLUSIVE
