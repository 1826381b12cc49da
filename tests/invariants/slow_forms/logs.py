"""REPL-1, FENCE-1 and READ-1, slowly: one log, whoever applies it, and who may add to it or speak of it."""

from holdfast_model.vocabulary import (
    AccountRead,
    EntryPosted,
    LoadConfirmed,
    PromoteReplica,
    ReadAccount,
    Rejected,
    ReplicaId,
    ReplicaPromoted,
    ReplicaStatus,
    View,
)
from slow_forms.replicas import epoch_at, primary_at, status_at, up_at
from slow_forms.tale import Arrived, Asked, Moment, Tale, Violations

# REPL-1 -------------------------------------------------------------------------------------------------------------


def repl_1(tale: Tale) -> Violations:
    """Equal logs give equal states: whatever is said of a cut, all say the same hash."""
    said: dict[int, set[str]] = {}
    for moment in tale.all(View, LoadConfirmed):
        what = moment.what
        hashes = [(what.seq, what.state_sha256)] if isinstance(what, LoadConfirmed) else []
        hashes += [(item.seq, item.state_sha256) for item in getattr(what, "replicas", ())]
        for seq, state in hashes:
            if state is not None:
                said.setdefault(seq, set()).add(state)
                if len(said[seq]) > 1:
                    yield moment.step, f"state at {seq}"
    last = 0
    for moment in tale.all(Asked):
        seq = moment.what.answer.seq
        if seq is not None:
            if seq <= last:
                yield moment.step, f"record {seq}"
            last = seq


# FENCE-1 ------------------------------------------------------------------------------------------------------------


def fence_1(tale: Tale) -> Violations:
    """Each epoch has one primary with a quorum, which alone decides and lacks nothing acknowledged."""
    for moment in tale.all(Asked):
        asked: Asked = moment.what
        seq, primary, up = asked.answer.seq, primary_at(tale, moment.at), up_at(tale, moment.at)
        if asked.resent:
            if asked.epoch != _epoch_of(tale, moment):
                yield moment.step, f"record {seq}"
            continue
        effects = [event for event in asked.answer.events if not isinstance(event, Rejected | AccountRead)]
        if asked.replica not in {None, primary} and (effects or seq is not None):
            yield moment.step, f"replica {asked.replica}"
        alone = primary not in up or len(up) < tale.setup.quorum
        if seq is not None and alone and not isinstance(asked.command, PromoteReplica):
            yield moment.step, f"record {seq}"
    for moment in tale.all(ReplicaPromoted):
        if not _may_be_promoted(tale, moment):
            yield moment.step, f"promotion of {moment.what.replica}"
    yield from _views(tale)


def _views(tale: Tale) -> Violations:
    for moment in tale.all(View):
        view: View = moment.what
        epoch, primary = epoch_at(tale, moment.at), primary_at(tale, moment.at)
        if view.epoch != epoch:
            yield moment.step, "epoch"
        if view.primary not in {None, primary}:
            yield moment.step, f"primary of epoch {epoch}"
        if view.epoch > 1 and view.seq < tale.seq(moment.at) and view.journal_sha256 is not None:
            yield moment.step, f"log of epoch {view.epoch}"


def _epoch_of(tale: Tale, moment: Moment) -> int:
    """The epoch that a record belongs to; a promotion is the first of its own."""
    promoted = [event.what for event in tale.answer(moment) if isinstance(event.what, ReplicaPromoted)]
    return promoted[0].epoch if promoted else epoch_at(tale, moment.at)


def _may_be_promoted(tale: Tale, moment: Moment) -> bool:
    """Whether it is the next epoch's first, has all that was acknowledged, and could be chosen by a quorum."""
    promoted, asked = moment.what, moment.asked
    assert asked is not None
    up, primary = up_at(tale, moment.at), primary_at(tale, moment.at)
    follows = promoted.epoch == epoch_at(tale, moment.at) + 1 and promoted.replica != primary
    if asked.resent:
        return bool(follows)
    complete = asked.answer.seq is not None and asked.answer.seq > tale.seq(moment.at)
    return bool(follows and complete and promoted.replica in up and len(up) >= tale.setup.quorum)


# READ-1 -------------------------------------------------------------------------------------------------------------


def reached_at(tale: Tale, end: int, replica: ReplicaId) -> int:
    """How far a replica has come at least: the primary all the way, another one as far as it was seen or read."""
    if replica == primary_at(tale, end):
        return tale.seq(_began(tale, end))
    seen = [item.seq for view in tale.before(end, View) for item in view.replicas if item.replica == replica]
    reads = [moment for moment in tale.between(0, end, AccountRead) if moment.what.replica == replica]
    true = [moment.what.seq for moment in reads if moment.what.seq <= tale.seq(moment.at)]
    return max(seen + true, default=0)


def read_1(tale: Tale) -> Violations:
    """A read of balances is exact at the cut that it names, or it is refused."""
    for moment in tale.all(Asked):
        if isinstance(moment.what.command, ReadAccount) and moment.what.answer.seq is not None:
            yield moment.step, f"read of {moment.what.command.client}"
    for moment in tale.all(AccountRead):
        read, asked = moment.what, moment.asked
        assert asked is not None
        client = getattr(asked.command, "client", read.client)
        told = tale.seq(moment.at)
        if (
            (read.client, read.replica) != (client, asked.replica or primary_at(tale, moment.at))
            or status_at(tale, moment.at, read.replica) is not ReplicaStatus.UP
            or read.seq < reached_at(tale, moment.at, read.replica)
            or (read.seq > told and not tale.unknown(moment.at))
        ):
            yield moment.step, f"read of {read.client} at {read.replica}"
        elif read.seq <= told:
            for place in _wrong_places(tale, moment.at, read):
                yield moment.step, f"{read.client} {place} at {read.replica}"


def _began(tale: Tale, end: int) -> int:
    """Where the step began: what came with a read may have been decided before it or after it."""
    return tale.between(0, end, Arrived)[-1].at


def _wrong_places(tale: Tale, end: int, read: AccountRead) -> list[str]:
    """Where what was read is not the sum of all entries up to the cut."""
    sums: dict[str, int] = {}
    for moment in tale.between(0, end, EntryPosted):
        assert moment.asked is not None
        if (moment.asked.answer.seq or 0) <= read.seq:
            for posting in moment.what.postings:
                if posting.account == read.client:
                    place = f"{posting.bucket} {posting.asset}"
                    sums[place] = sums.get(place, 0) + posting.amount
    shown = {f"{item.bucket} {item.asset}": item.amount for item in read.balances}
    return [place for place in {*sums, *shown} if sums.get(place, 0) != shown.get(place, 0)]
