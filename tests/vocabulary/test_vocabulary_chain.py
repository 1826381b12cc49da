"""The journal's hash chain, recomputed by hand."""

import json
from hashlib import sha256

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from holdfast_model.vocabulary import (
    CancelOrder,
    JournalRecord,
    OrderCancelled,
    Reason,
    Rejected,
    SetPhase,
    SizeLots,
)
from holdfast_model.vocabulary.chain import GENESIS, JournalBody, seal
from holdfast_model.vocabulary.commands import Phase
from holdfast_model.vocabulary.events import CancelReason
from holdfast_model.vocabulary.wire import decode, encode

CANCEL = JournalBody(
    seq=1,
    epoch=1,
    command=CancelOrder(client="alice", order="1"),
    events=(OrderCancelled(client="alice", order="1", left_lots=SizeLots(3), reason=CancelReason.REQUESTED),),
)
CANCEL_TEXT = (
    b'{"seq":1,"epoch":1,"command":{"type":"cancel_order","client":"alice","order":"1"},"events":['
    b'{"type":"order_cancelled","client":"alice","order":"1","left_lots":"3","reason":"requested"}]}'
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
    line, head = seal(GENESIS, CANCEL)
    assert head == sha256(b"0" * 64 + CANCEL_TEXT).hexdigest()
    assert line == CANCEL_TEXT[:-1] + b',"journal_sha256":"' + head.encode() + b'"}'


def test_a_chain_can_be_checked_with_a_json_reader_and_a_hash_function_alone() -> None:
    lines, head = [], GENESIS
    for body in (CANCEL, REFUSED):
        line, head = seal(head, body)
        lines.append(line)
    recomputed = "0" * 64
    for line in lines:
        fields = json.loads(line)
        claimed = fields.pop("journal_sha256")
        text = json.dumps(fields, separators=(",", ":"))
        recomputed = sha256((recomputed + text).encode()).hexdigest()
        assert claimed == recomputed
    assert recomputed == head


def test_a_sealed_line_is_a_journal_record() -> None:
    line, head = seal(GENESIS, CANCEL)
    assert decode(line, JournalRecord) == JournalRecord(
        seq=1, epoch=1, command=CANCEL.command, events=CANCEL.events, journal_sha256=head
    )
    assert encode(decode(line, JournalRecord)) == line


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
