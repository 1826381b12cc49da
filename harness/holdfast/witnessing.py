"""Shortest sequences to the goals of the models: which are sought where, their files, and what a person is told."""

from collections.abc import Sequence
from difflib import get_close_matches

from holdfast.console import say
from holdfast.linking.following import replay_on_reference
from holdfast.reporting import Folder
from holdfast_model.checkers.witness import Hunt, Replayed
from holdfast_model.errors import HoldfastError
from holdfast_model.evidence import TraceState, Witness, WitnessedGoal, Witnesses
from holdfast_model.specs import goal_models, load_model

SEQUENCES_ALL = 3
"""How many sequences `--all` keeps of a goal at most."""

_SIMILARITY = 0.5
"""How alike a name must be to be suggested, of 1."""


def goals_sought(names: Sequence[str], model: str | None) -> dict[str, list[str]]:
    """The goals to look for, by the model to search: those named, or all; of one model, or each where it lives.

    HoldfastError, with names that are near, where there is no goal of a name.
    """
    homes = goal_models() if model is None else {goal.invariant: model for goal in load_model(model).goals}
    for name in names:
        if name not in homes:
            near = get_close_matches(name, homes, n=3, cutoff=_SIMILARITY)
            where = "" if model is None else f" of model {model}"
            there = f"did you mean {' or '.join(near)}?" if near else f"there are: {', '.join(homes) or 'none'}"
            raise HoldfastError(f"unknown goal {name!r}{where}; {there}")
    sought: dict[str, list[str]] = {}
    for name, home in homes.items():
        if not names or name in names:
            sought.setdefault(home, []).append(name)
    return sought


def hunt_for(hunt: Hunt, sought: dict[str, list[str]]) -> None:
    """Look for goals, each model searched once for all of its own."""
    for name, goals in sought.items():
        hunt.run(load_model(name), goals)


def on_reference(model: str, trace: Sequence[TraceState]) -> Replayed:
    """Let the reference exchange go the way of a sequence, with its states compared after each step."""
    replay = replay_on_reference(model, trace)
    if replay.difference is not None:
        found = replay.difference
        text = (
            f"step {found.step}, {found.action}: {found.variable} is {found.model} in the model, "
            f"{found.engine} in the exchange"
        )
        return Replayed(reason="its states were others", difference=text)
    return Replayed(matched=replay.matched, reason=replay.unsupported or "")


def write_witnesses(folder: Folder, found: Sequence[Witness]) -> list[str]:
    """Write each sequence into a file of its own; their names, relative to the folder."""
    return [folder.add_witness(each) for each in found]


def say_witnesses(result: Witnesses, folder: str) -> None:
    """Print what was found of each goal, what broke on the way, and the bounds."""
    for goal in result.goals:
        say(f"{goal.goal}: {outcome(goal)}")
        say(f"     {goal.sentence}")
        for summary in goal.others:
            say(f"     also in {len(summary.actions)} steps: {' -> '.join(summary.actions)}")
    for searched in result.searched:
        for violation in searched.violations:
            say(
                f"{violation.invariant} ({violation.property}) is violated on {searched.model} in "
                f"{violation.states} states: {' -> '.join(state.action for state in violation.trace)}"
            )
    for bound in result.bounds:
        say(f"  within: {bound.name}: {bound.value}")
    if any(goal.file for goal in result.goals):
        say(f"  written: {folder}/witnesses")


def outcome(goal: WitnessedGoal) -> str:
    """What was found of a goal, in one line."""
    if goal.method is None:
        return f"not reached on {goal.model}: {goal.reason}"
    how = "replayed on the reference" if goal.replayed else goal.difference or goal.not_replayed_because
    return f"{goal.steps} steps on {goal.model} ({goal.method}; {how}): {' -> '.join(goal.actions)}"
