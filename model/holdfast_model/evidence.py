"""Verdicts, bounds and traces: what a check leaves behind for a reader.

Every structure here is plain data (msgspec Structs), so that evidence can be written to a file, read back by
another version, and rendered without the code that made it. Nothing in this module depends on a clock or on the
machine: two runs with one seed give equal evidence. Importing it loads neither z3 nor numpy nor Hypothesis.
"""

from enum import IntEnum, StrEnum

from msgspec import Struct


class Verdict(StrEnum):
    """The outcome of a whole check. `INCONCLUSIVE` is never green."""

    HELD = "held"
    VIOLATED = "violated"
    INCONCLUSIVE = "inconclusive"


class ExitStatus(IntEnum):
    """What the `holdfast` command tells the shell."""

    HELD = 0
    VIOLATED = 1
    BAD_INPUT = 2
    INCONCLUSIVE = 3
    BUG = 4
    INTERRUPTED = 130


EXIT_STATUS_BY_VERDICT = {
    Verdict.HELD: ExitStatus.HELD,
    Verdict.VIOLATED: ExitStatus.VIOLATED,
    Verdict.INCONCLUSIVE: ExitStatus.INCONCLUSIVE,
}


def worst(verdicts: "list[Verdict]") -> Verdict:
    """The verdict of a whole from those of its parts: one violation outweighs all, nothing at all concludes nothing.

    >>> worst([Verdict.HELD, Verdict.INCONCLUSIVE]).value
    'inconclusive'
    >>> worst([]).value
    'inconclusive'
    """
    for verdict in (Verdict.VIOLATED, Verdict.INCONCLUSIVE):
        if verdict in verdicts:
            return verdict
    return Verdict.HELD if verdicts else Verdict.INCONCLUSIVE


class Bound(Struct, frozen=True, kw_only=True):
    """One limit within which a verdict holds, such as ("accounts", "2") or ("amounts", "unbounded integers")."""

    name: str
    value: str


class ObligationVerdict(StrEnum):
    """What a solver said about one query. Only `PROVED` is green."""

    PROVED = "proved"
    REFUTED = "refuted"
    UNKNOWN = "unknown"
    NOT_ATTEMPTED = "not-attempted"


class Obligation(Struct, frozen=True, kw_only=True):
    """One query of an inductive proof: that `action` keeps `property` from every state that satisfies all of them.

    `action` is "init" for the base case. On `REFUTED`, `before` and `after` are the concrete states of the
    counterexample to induction (variable instance -> printed value) and `arguments` the action's arguments; the
    state before need not be reachable. On `UNKNOWN` and `NOT_ATTEMPTED`, `reason` says why. In a proof that joins
    those of several models, `model` is the obligation's own.
    """

    invariant: str
    property: str
    action: str
    verdict: ObligationVerdict
    solver: str
    auxiliary: bool = False
    reason: str = ""
    model: str = ""
    arguments: dict[str, str] = {}
    before: dict[str, str] = {}
    after: dict[str, str] = {}


class OpenQuestion(Struct, frozen=True, kw_only=True):
    """An obligation that rests on a question to which a second solver has no answer, with the reason.

    In a proof that joins those of several models, `model` is the obligation's own.
    """

    invariant: str
    property: str
    action: str
    reason: str = ""
    model: str = ""


class SecondOpinion(Struct, frozen=True, kw_only=True):
    """What another solver said to the questions that decided the obligations: `agreed` of `asked`.

    It contradicts none of them, for a contradiction is a bug of Holdfast and ends the run. A question that it could
    not answer within its limits, `bounds`, is neither; `not_concluded` lists the obligations that rest on one.
    """

    solver: str
    asked: int
    agreed: int
    not_concluded: tuple[OpenQuestion, ...] = ()
    bounds: tuple[Bound, ...] = ()


class Proof(Struct, frozen=True, kw_only=True):
    """All obligations of one call of `prove`, with the bounds within which they speak."""

    model: str
    verdict: Verdict
    bounds: tuple[Bound, ...]
    obligations: tuple[Obligation, ...]
    second_opinion: SecondOpinion | None = None
    bounded: "Bounded | None" = None
    """What a bounded search, where one was asked for, says about the properties that are not proved."""


class TraceState(Struct, frozen=True, kw_only=True):
    """A state of a model (variable instance -> printed value) and the action that led to it ("init" at first)."""

    action: str
    state: dict[str, str]


class ModelViolation(Struct, frozen=True, kw_only=True):
    """A shortest path to a state that breaks a property; `states` counts the states of `trace`, the first too."""

    invariant: str
    property: str
    states: int
    trace: tuple[TraceState, ...]


class BoundedOutcome(StrEnum):
    """What a bounded search said about a property or a goal. Only `HELD` and `REACHED` are green."""

    HELD = "held-within-bound"
    """No sequence of up to so many steps breaks the property; longer ones were not looked at."""
    REFUTED = "refuted"
    REACHED = "reached"
    NOT_REACHED = "not-reached-within-bound"
    UNKNOWN = "unknown"


class BoundedProperty(Struct, frozen=True, kw_only=True):
    """A property over all sequences of up to `steps` steps.

    On `REFUTED` there are `steps` steps in `trace`, a shortest sequence that breaks it; on `UNKNOWN` it is known for
    `steps` steps, and `reason` says why no further.
    """

    invariant: str
    property: str
    outcome: BoundedOutcome
    steps: int
    reason: str = ""
    trace: tuple[TraceState, ...] = ()


class BoundedGoal(Struct, frozen=True, kw_only=True):
    """A goal over all sequences of up to `steps` steps: a shortest one that reaches it, or how far none does."""

    goal: str
    sentence: str
    outcome: BoundedOutcome
    steps: int
    reason: str = ""
    trace: tuple[TraceState, ...] = ()


class Bounded(Struct, frozen=True, kw_only=True):
    """What a solver said about every sequence of up to `steps` steps from the first state.

    `assumed` names the invariants that were proved elsewhere and relied on. `exhausted`: no sequence has that many
    steps, so that all there are were looked at.
    """

    model: str
    verdict: Verdict
    bounds: tuple[Bound, ...]
    steps: int
    properties: tuple[BoundedProperty, ...]
    goals: tuple[BoundedGoal, ...] = ()
    assumed: tuple[str, ...] = ()
    exhausted: bool = False
    reason: str = ""
    """Why the verdict is inconclusive, where it is."""


class ActionCoverage(Struct, frozen=True, kw_only=True):
    """How often an action was taken over all explored states; an action with 0 was never enabled."""

    action: str
    taken: int


class PropertyCoverage(Struct, frozen=True, kw_only=True):
    """In how many distinct states a property was evaluated."""

    invariant: str
    property: str
    states: int


class GoalCoverage(Struct, frozen=True, kw_only=True):
    """A shortest path to a state that a model is meant to reach; `states` is 0 and `trace` empty if it never was."""

    goal: str
    sentence: str
    states: int
    trace: tuple[TraceState, ...]


class Exploration(Struct, frozen=True, kw_only=True):
    """The result of a breadth-first search over a model's states.

    `generated` counts the initial state and every successor computed, duplicates included; `depth` the number of
    breadth-first levels, the initial one included (TLC counts both in this way). `complete` is false when a limit
    stopped the search; `stopped_by` then says which. `collision_probability` bounds the probability that two
    different states shared a fingerprint, so that one was never expanded. `deadlocks` counts the states in which no
    action can be taken and which the spec does not declare as an end; `deadlock` is a shortest path to the first. The
    verdict is `HELD` only if every goal was reached.
    """

    model: str
    verdict: Verdict
    bounds: tuple[Bound, ...]
    distinct: int
    generated: int
    depth: int
    complete: bool
    collision_probability: float
    actions: tuple[ActionCoverage, ...]
    properties: tuple[PropertyCoverage, ...]
    violations: tuple[ModelViolation, ...]
    deadlocks: int = 0
    stopped_by: str = ""
    goals: tuple[GoalCoverage, ...] = ()
    deadlock: tuple[TraceState, ...] = ()


WITNESS_SCHEMA = "holdfast/witness/1"


class Method(StrEnum):
    """How a shortest sequence was found."""

    EXPLORE = "explore"
    """By visiting all states that are nearer."""
    BOUND = "bound"
    """By a solver, which showed that no shorter sequence does."""


class Witness(Struct, frozen=True, kw_only=True):
    """A sequence of a model that reaches a goal; each is written to a file of its own."""

    schema: str
    goal: str
    sentence: str
    model: str
    method: Method
    trace: tuple[TraceState, ...]


class WitnessSummary(Struct, frozen=True, kw_only=True):
    """A sequence in short: the steps that it takes, and its file, relative to the report's folder; "" is none."""

    actions: tuple[str, ...]
    file: str = ""


class WitnessedGoal(Struct, frozen=True, kw_only=True):
    """What was found about a goal: on `model`, a shortest sequence, of `steps` steps.

    `method` is None where none was found, and `reason` says why. `replayed`: the reference engine took the steps,
    and its states were the model's; else `not_replayed_because` says why not, and `difference` what differed where
    its states were others, which is a violation. (The interpreter of the specification takes the steps of every
    sequence.) `others` are further ones, each the shortest whose actions, by name and order, differ from all before
    it.
    """

    goal: str
    sentence: str
    model: str
    steps: int
    method: Method | None
    reason: str = ""
    replayed: bool = False
    not_replayed_because: str = ""
    difference: str = ""
    actions: tuple[str, ...] = ()
    file: str = ""
    others: tuple[WitnessSummary, ...] = ()


class SearchedModel(Struct, frozen=True, kw_only=True):
    """How far a model was searched for its goals; what broke on the way is a violation as in any search."""

    model: str
    bounds: tuple[Bound, ...]
    distinct: int
    depth: int
    complete: bool
    stopped_by: str
    violations: tuple[ModelViolation, ...]


class Witnesses(Struct, frozen=True, kw_only=True):
    """`holdfast witness`: every goal that was asked for. `HELD` only if each was reached and nothing broke."""

    verdict: Verdict
    bounds: tuple[Bound, ...]
    goals: tuple[WitnessedGoal, ...]
    searched: tuple[SearchedModel, ...]
