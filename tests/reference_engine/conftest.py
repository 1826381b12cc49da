"""Stories of margin: told with every invariant checked, and told again from every cut when they are over."""

import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from msgspec.structs import replace

from holdfast.setups import MARGIN_SETUP
from holdfast.stories import Story
from holdfast_engine.state import VenueState, state_sha256
from holdfast_engine.venue import Venue
from holdfast_model.vocabulary import (
    Command,
    Crash,
    CrashPoint,
    Events,
    Reason,
    Restart,
    RestoreSnapshot,
    TakeSnapshot,
)
from holdfast_model.vocabulary.wire import decode, encode

sys.path.insert(0, str(Path(__file__).parent / "venues"))

Repairs = list[tuple[Reason, dict[str, object]]]
"""The refusals of a command in their order, and what is put right after each."""


def retold(story: Story) -> Venue:
    """A venue to which the story was told again; restored from a snapshot at every cut, it goes on in the same way.

    A replica that follows by the events alone has the same state after each command.
    """
    commands: list[Command] = []
    for step in story.runner.steps:
        if isinstance(step, Crash):
            if step.in_flight is not None and step.point is CrashPoint.AFTER_JOURNAL:
                commands.append(step.in_flight)
        elif not isinstance(step, TakeSnapshot | RestoreSnapshot | Restart):
            assert isinstance(step, Command)
            commands.append(step)
    venue, replica = Venue(story.setup), Venue(story.setup)
    cuts: list[VenueState] = []
    answers: list[Events] = []
    for command in commands:
        cuts.append(decode(encode(venue.state()), VenueState))
        answers.append(venue.apply(command))
        replica.replay(answers[-1])
        assert state_sha256(replica.state()) == state_sha256(venue.state()), command
    for number, cut in enumerate(cuts):
        again = Venue(story.setup)
        again.load(cut)
        assert [again.apply(command) for command in commands[number:]] == answers[number:], f"restored at {number}"
        assert state_sha256(again.state()) == state_sha256(venue.state())
    return venue


@pytest.fixture
def venue_of() -> Callable[[Story], Venue]:
    """What makes a venue of a story, to look at what no view shows."""
    return retold


@pytest.fixture
def story() -> Iterator[Story]:
    """Four clients with 10,000 USD and 1,000 of each coin in spot; every mark at its reference, 100 and 40."""
    told = Story(MARGIN_SETUP)
    for client in MARGIN_SETUP.clients:
        told.deposit(client, USD=10_000, BTC=1_000, ETH=1_000)
    for market in MARGIN_SETUP.markets:
        assert market.reference_ticks is not None
        told.mark(market.market, market.reference_ticks)
    yield told
    retold(told)


@pytest.fixture
def first_broken_rule_is_the_reason() -> Callable[[Story, Command, Repairs], None]:
    """What checks a table of refusals: each row breaks its rule, and every rule after it.

    What is left when everything is put right takes effect.
    """

    def check(story: Story, command: Command, repairs: Repairs) -> None:
        for reason, repair in repairs:
            assert story.refusal(command) is reason
            command = replace(command, **repair)
        assert story.refusal(command) is None

    return check
