"""The journal's hash chain, recomputed by hand."""

import json
from hashlib import sha256

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from holdfast_model.vocabulary import (
    CancelOrder,
    OrderCancelled,
    Reason,
    Rejected,
    SetPhase,
    SizeLots,
)
from holdfast_model.vocabulary.chain import GENESIS, JournalBody, head_after, seal
from holdfast_model.vocabulary.commands import Phase
from holdfast_model.vocabulary.events import CancelReason
from holdfast_model.vocabulary.wire import from_canonical

CANCEL = JournalBody(
    seq=1,
    epoch=1,
    command=CancelOrder(client="alice", order="1"),
    events=(OrderCancelled(client="alice", order="1", left_lots=SizeLots(3), reason=CancelReason.REQUESTED),),
)
CANCEL_TEXT = (
    b'{"seq":1,"epoch":1,"command":{"type":"cancel_order","client":"alice","order":"1"},"events":['
    b'{"type":"order_cancelled","client":"alice","order":"1","left_lots":3,"reason":"requested"}]}'
)
REFUSED = JournalBody(
    seq=2,
    epoch=1,
    command=SetPhase(phase=Phase.MAINTENANCE),
    events=(Rejected(reason=Reason.TRANSITION_ILLEGAL),),
)


def test_the_chain_begins_at_64_zeros() -> None:
    assert GENESIS == "0" * 64


def test_a_head_is_the_hash_of_the_head_before_it_and_the_record_s_json() -> None:
    link, head = seal(GENESIS, CANCEL)
    assert link == b"0" * 64 + CANCEL_TEXT
    assert head == sha256(link).hexdigest()


def test_a_chain_can_be_checked_with_a_json_reader_and_a_hash_function_alone() -> None:
    links, head = [], GENESIS
    for body in (CANCEL, REFUSED):
        link, head = seal(head, body)
        links.append(link)
    recomputed = "0" * 64
    for text_of_link in map(bytes.decode, links):
        before, text = text_of_link[:64], text_of_link[64:]
        assert before == recomputed
        assert json.dumps(json.loads(text), separators=(",", ":")) == text
        recomputed = sha256((recomputed + text).encode()).hexdigest()
    assert recomputed == head


def test_amounts_are_bare_digits_however_long_and_letters_are_not_escaped() -> None:
    event = OrderCancelled(client="a", order="1", left_lots=SizeLots(10**37), reason=CancelReason.REQUESTED)
    said = Rejected(reason=Reason.OTHER, detail='"é\n')
    link, _ = seal(GENESIS, JournalBody(seq=1, epoch=1, command=CANCEL.command, events=(event, said)))
    assert b'"left_lots":1' + b"0" * 37 + b"," in link
    assert '"detail":"\\"é\\n"'.encode() in link


def test_a_link_is_read_back_as_what_was_sealed() -> None:
    link, _ = seal(GENESIS, CANCEL)
    assert from_canonical(link[64:], JournalBody) == CANCEL


@pytest.mark.parametrize(
    "other",
    [
        JournalBody(seq=2, epoch=1, command=CANCEL.command, events=CANCEL.events),
        JournalBody(seq=1, epoch=2, command=CANCEL.command, events=CANCEL.events),
        JournalBody(seq=1, epoch=1, command=CancelOrder(client="alice", order="2"), events=CANCEL.events),
        JournalBody(seq=1, epoch=1, command=CANCEL.command, events=()),
    ],
    ids=["number", "epoch", "command", "events"],
)
def test_the_head_covers_number_epoch_command_and_events(other: JournalBody) -> None:
    assert seal(GENESIS, other)[1] != seal(GENESIS, CANCEL)[1]


@given(st.lists(st.sampled_from([CANCEL, REFUSED]), min_size=2, max_size=6), st.data())
@settings(max_examples=50, deadline=None)
def test_a_record_taken_out_changes_the_head(bodies: list[JournalBody], data: st.DataObject) -> None:
    gone = data.draw(st.integers(0, len(bodies) - 1))

    def head_of(chain: list[JournalBody]) -> str:
        head = GENESIS
        for body in chain:
            _, head = seal(head, body)
        return head

    assert head_of(bodies) != head_of(bodies[:gone] + bodies[gone + 1 :])


def test_the_head_is_that_of_what_is_given_also_where_it_was_sealed_before() -> None:
    """The JSON of what was sealed lately is kept by identity: whatever is otherwise has another head."""
    command, events = CancelOrder(client="alice", order="1"), (Rejected(reason=Reason.ORDER_NOT_OPEN),)
    body = JournalBody(seq=7, epoch=2, command=command, events=events)
    _, head = seal(GENESIS, body)
    assert head_after(GENESIS, 7, 2, command, events) == head
    assert head_after(GENESIS, 7, 2, CancelOrder(client="alice", order="1"), (*events,)) == head
    for otherwise in (
        (head, 7, 2, command, events),
        (GENESIS, 8, 2, command, events),
        (GENESIS, 7, 3, command, events),
        (GENESIS, 7, 2, CancelOrder(client="bob", order="1"), events),
        (GENESIS, 7, 2, command, (Rejected(reason=Reason.DUPLICATE_ORDER),)),
        (GENESIS, 7, 2, command, ()),
    ):
        assert head_after(*otherwise) != head
