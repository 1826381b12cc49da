"""Openings: the shortest sequences to the goals of the models, as beginnings of sequences on an exchange.

What a search of the model found to be the nearest way to "a failover during a partly signed withdrawal" is where a
sequence on an engine starts: it is at the goal after some ten commands, where chance may not come in thousands.

`openings.json` has the ways as `holdfast witness` found them; `python -m holdfast.openings FOLDER ...` writes it
again from the folders of such runs. A way that is no path of its model any more is refused when it is read.
"""

import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import get_args

import msgspec
from msgspec import Struct

from holdfast.console import say
from holdfast.engine import Engine, LocalEngine
from holdfast.linking.following import Follower, path_of
from holdfast.running import Runner
from holdfast.setups import CUSTODY_CAPABILITIES, MARGIN_CAPABILITIES
from holdfast_model.errors import HoldfastError
from holdfast_model.evidence import Witness
from holdfast_model.specs import load_model
from holdfast_model.vocabulary import (
    AskReplica,
    Burst,
    Capability,
    ComeToRest,
    CommitNonce,
    Crash,
    HaltProduct,
    Liquidate,
    ProcedureCommand,
    ReplicaCommand,
    Restart,
    RestoreSnapshot,
    ResumeStage,
    SetPhase,
    Setup,
    Step,
    SubmitShare,
    TakeSnapshot,
)
from holdfast_reports import write_atomically

_FILE = "openings.json"


class Way(Struct, frozen=True, kw_only=True):
    """A sequence of a model, by the labels of its actions, to a goal."""

    goal: str
    model: str
    actions: tuple[str, ...]


class Opening(Struct, frozen=True, kw_only=True):
    """The same as steps of an exchange of a setup as small as the model; `needs` is what an engine must know."""

    goal: str
    setup: Setup
    steps: tuple[Step, ...]
    needs: frozenset[Capability]


_NEEDED: Mapping[type[object], Capability] = {
    Burst: Capability.INGRESS,
    TakeSnapshot: Capability.SNAPSHOT,
    RestoreSnapshot: Capability.SNAPSHOT,
    Crash: Capability.RESTART,
    Restart: Capability.RESTART,
    SetPhase: Capability.PHASES,
    HaltProduct: Capability.PRODUCT_HALTS,
    ResumeStage: Capability.PRODUCT_HALTS,
    Liquidate: Capability.LIQUIDATION,
    AskReplica: Capability.REPLICAS,
    **dict.fromkeys(get_args(ReplicaCommand), Capability.REPLICAS),
    **dict.fromkeys(get_args(ProcedureCommand), Capability.PROCEDURE),
}
_ALWAYS = frozenset({Capability.LIMIT_ORDERS, Capability.FUNDS})


def openings_for(capabilities: frozenset[Capability]) -> tuple[Opening, ...]:
    """The openings that an engine of these capabilities can be put through, in the order of the file."""
    return tuple(opening for opening in openings() if opening.needs <= capabilities)


def openings_like(setup: Setup, capabilities: frozenset[Capability]) -> tuple[Opening, ...]:
    """Those of the parts that a setup has: with custody or without as it is, with margin or a procedure likewise."""

    def alike(other: Setup) -> bool:
        if setup.auctions or (other.custody is None) != (setup.custody is None):
            return False
        if other.margin is None and setup.margin is not None and setup.custody is None:
            return other.procedure and setup.procedure
        return (other.margin is None or setup.margin is not None) and (setup.procedure or not other.procedure)

    return tuple(opening for opening in openings_for(capabilities) if alike(opening.setup))


def play(engine: Engine, opening: Opening, watch: Callable[[Runner], None] = lambda _: None) -> Runner:
    """An opening on an engine, with a view after every step; last all must come to rest.

    `watch` is called after each step, and may end it by raising.
    """
    runner = Runner(engine, opening.setup)
    for step in (*opening.steps, ComeToRest()):
        runner.do(_said(runner, step))
        watch(runner)
    return runner


def _said(runner: Runner, step: Step) -> Step:
    """The step; what a signer says in it, this sequence's own signer says, who then knows that it has said it."""
    parties = runner.known.parties
    match step:
        case CommitNonce() if parties is not None and step.payment in parties.signings:
            return parties.commitment(step.payment, step.signer) or step
        case SubmitShare() if parties is not None and step.payment in parties.signings:
            return parties.share(step.payment, step.signer) or step
        case _:
            return step


@cache
def openings() -> tuple[Opening, ...]:
    """All openings, carried out on the reference exchange once, because what signers say depends on what they hear.

    Raises `HoldfastError` where the file has a way that its model, or the exchange, does not go.
    """
    return tuple(map(_opening, ways()))


def ways() -> tuple[Way, ...]:
    """What the file has."""
    return msgspec.json.decode(files(__package__).joinpath(_FILE).read_bytes(), type=tuple[Way, ...])


def _opening(way: Way) -> Opening:
    model = load_model(way.model)
    follower = Follower(model, LocalEngine())
    for instance in path_of(model, way.actions):
        after = model.step(instance, follower.state)
        found = None if after is None else follower.take(instance, after)
        if after is None or found is not None:
            raise HoldfastError(
                f"{_FILE}: the way to {way.goal} ends at {instance.label} ({found or 'no step of the model'}); "
                f"expected a path of {way.model} that the exchange goes; look for it again with `holdfast witness`"
            )
    setup, steps = follower.world.setup, tuple(follower.world.runner.steps)
    return Opening(goal=way.goal, setup=setup, steps=steps, needs=_needs(setup, steps))


def _needs(setup: Setup, steps: Iterable[Step]) -> frozenset[Capability]:
    needs = _ALWAYS.union(_NEEDED[step.__class__] for step in steps if step.__class__ in _NEEDED)
    if setup.margin is not None:
        needs |= MARGIN_CAPABILITIES
    if setup.custody is not None:
        needs |= CUSTODY_CAPABILITIES
    if any(isinstance(step, Crash) and step.in_flight is not None for step in steps):
        needs |= {Capability.RESEND}
    return needs


def collected(folders: Sequence[Path]) -> tuple[Way, ...]:
    """The ways in the folders that `holdfast witness` wrote, one for each goal, by name."""
    found: dict[str, Way] = {}
    for folder in folders:
        for path in sorted(folder.glob("witnesses/*.json")):
            witness = msgspec.json.decode(path.read_bytes(), type=Witness)
            actions = tuple(state.action for state in witness.trace[1:])
            found.setdefault(witness.goal, Way(goal=witness.goal, model=witness.model, actions=actions))
    return tuple(found[goal] for goal in sorted(found))


if __name__ == "__main__":
    made = collected([Path(each) for each in sys.argv[1:]])
    target = Path(__file__).with_name(_FILE)
    write_atomically(target, msgspec.json.format(msgspec.json.encode(made), indent=1) + b"\n")
    say(f"{len(made)} openings: {target}")
