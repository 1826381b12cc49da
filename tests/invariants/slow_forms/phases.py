"""PHASE-1 and PHASE-2, slowly: what is legal in a phase, and what must have happened before another one."""

from holdfast_model.vocabulary import (
    STAGE_TRANSITIONS,
    AuctionUncrossed,
    LiquidationStepped,
    LoadConfirmed,
    MaintenanceAnnounced,
    MismatchFound,
    Phase,
    PhaseChanged,
    ProductResumed,
    Reconciled,
    Rejected,
    ReleaseActivated,
    ReleaseDeployed,
    ReplicaChanged,
    ReplicaStatus,
    Restart,
    RestoreSnapshot,
    SetPhase,
    Stage,
    StartReplica,
    TradeExecuted,
    View,
    legal,
    may_follow,
)
from slow_forms.book import crossed_at
from slow_forms.replicas import installed_at, primary_at, status_at
from slow_forms.tale import Acted, Asked, Moment, Tale, Violations

# PHASE-1 ------------------------------------------------------------------------------------------------------------


def phase_1(tale: Tale) -> Violations:
    """Only commands that are legal in the phase take effect."""
    for moment in tale.all(Asked, TradeExecuted, PhaseChanged):
        phase, what = tale.phase(moment.at), moment.what
        if isinstance(what, Asked):
            effects = [event for event in what.answer.events if not isinstance(event, Rejected)]
            if effects and not legal(phase, what.command):
                yield moment.step, f"{type(what.command).__name__} in {phase}"
        elif isinstance(what, TradeExecuted):
            if phase is not Phase.OPEN and not (phase is Phase.AUCTION and _ends_auction(moment)):
                yield moment.step, f"trade in {phase}"
        elif not _may_change(tale, moment, phase):
            yield moment.step, f"phase {what.before} to {what.after}"


def _ends_auction(moment: Moment) -> bool:
    command = None if moment.asked is None else moment.asked.command
    return isinstance(command, SetPhase) and command.phase in {Phase.OPEN, Phase.CLOSED}


def _may_change(tale: Tale, moment: Moment, phase: Phase) -> bool:
    changed: PhaseChanged = moment.what
    if changed.before is not phase:
        return False
    if may_follow(changed.before, changed.after, auctions=tale.setup.auctions):
        return True
    # The exchange halts itself when it finds that ledger and custody differ.
    assert moment.asked is not None
    found = any(isinstance(event, MismatchFound) for event in moment.asked.answer.events)
    return found and changed.after is Phase.HALTED


# PHASE-2 ------------------------------------------------------------------------------------------------------------


def phase_2(tale: Tale) -> Violations:
    """No obligatory step is skipped."""
    yield from _auctions(tale)
    yield from _stages(tale)
    yield from _releases(tale)
    yield from _confirmations(tale)
    if tale.setup.procedure:
        yield from _maintenance(tale)
        yield from _barriers(tale)


def _auctions(tale: Tale) -> Violations:
    for moment in tale.all(AuctionUncrossed):
        phase, start = tale.phase(moment.at), _phase_began(tale, moment.at)
        before = [other.what.market for other in tale.between(start, moment.at, AuctionUncrossed)]
        if phase is not Phase.AUCTION or moment.what.market in before:
            yield moment.step, f"uncrossing of {moment.what.market}"
        product = {market.market: market.product for market in tale.setup.markets}.get(moment.what.market)
        closed = product is not None and tale.stage(moment.at, product) is not Stage.OPEN
        if closed and moment.what.market in crossed_at(tale, moment.at):
            yield moment.step, f"uncrossing of {moment.what.market}"
    for moment in tale.all(PhaseChanged):
        left, after = tale.phase(moment.at), moment.what.after
        if left is Phase.AUCTION and after in {Phase.OPEN, Phase.CLOSED}:
            start = _phase_began(tale, moment.at)
            uncrossed = {other.what.market for other in tale.between(start, moment.at, AuctionUncrossed)}
            missing = {market.market for market in tale.setup.markets} - uncrossed
            for market in sorted(missing | crossed_at(tale, moment.at)):
                yield moment.step, f"auction of {market}"
        elif after in {Phase.OPEN, Phase.POST_ONLY}:
            if tale.setup.auctions and after is Phase.OPEN:
                yield moment.step, f"opening from {left}"
            for market in sorted(crossed_at(tale, moment.at)):
                yield moment.step, f"book of {market}"


def _phase_began(tale: Tale, end: int) -> int:
    changes = tale.between(0, end, PhaseChanged)
    return changes[-1].at if changes else 0


def _stages(tale: Tale) -> Violations:
    for moment in tale.all(ProductResumed):
        product, stage = moment.what.product, moment.what.stage
        if STAGE_TRANSITIONS.get(tale.stage(moment.at, product)) is not stage:
            yield moment.step, f"stage of {product}"
        if stage is Stage.OPEN:
            for market in tale.setup.markets:
                perpetual = market.product == product and market.perpetual is not None
                if perpetual and tale.mark(moment.at, market.market) is None:
                    yield moment.step, f"mark of {market.market}"


def _maintenance(tale: Tale) -> Violations:
    """One announcement serves one maintenance, which begins no earlier than was told."""
    for moment in tale.all(PhaseChanged):
        if moment.what.after is not Phase.MAINTENANCE:
            continue
        begun = [
            other.at for other in tale.between(0, moment.at, PhaseChanged) if other.what.after is Phase.MAINTENANCE
        ]
        announced = tale.between(begun[-1] if begun else 0, moment.at, MaintenanceAnnounced)
        now = tale.time_ms(moment.at)
        if not announced or announced[-1].what.begins_ms > now:
            yield moment.step, f"maintenance at {now} ms"


def _releases(tale: Tale) -> Violations:
    """A release comes into force when it is installed everywhere, and nothing is open whose price it changes."""
    for moment in tale.all(ReleaseActivated):
        release, end = moment.what.release, moment.at
        everywhere = all(
            installed_at(tale, end, replica) == release and status_at(tale, end, replica) is ReplicaStatus.UP
            for replica in tale.setup.replicas
        )
        if not (everywhere or _is_resent(moment)):
            yield moment.step, f"release {release}"
    for moment in tale.all(View):
        shown = {replica.replica: replica.release for replica in moment.what.replicas}
        for replica, installed in shown.items():
            if installed not in {None, installed_at(tale, moment.at, replica)}:
                yield moment.step, f"release on {replica}"
        if moment.what.release not in {None, tale.release(moment.at)}:
            yield moment.step, "release in force"


def _confirmations(tale: Tale) -> Violations:
    """The load is confirmed of all replicas, at the cut before."""
    for moment in tale.all(LoadConfirmed):
        ready = all(
            installed_at(tale, moment.at, replica) == tale.release(moment.at)
            and status_at(tale, moment.at, replica) is ReplicaStatus.UP
            for replica in tale.setup.replicas
        )
        another_cut = moment.what.seq != tale.seq(moment.at) and not tale.unknown(moment.at)
        if another_cut or not (ready or _is_resent(moment)):
            yield moment.step, f"load barrier at {moment.what.seq}"


def _barriers(tale: Tale) -> Violations:
    for moment in tale.all(PhaseChanged):
        after = moment.what.after
        if after in {Phase.OPEN, Phase.POST_ONLY, Phase.AUCTION}:
            if _is_owed(tale, moment.at, LoadConfirmed):
                yield moment.step, f"load barrier before {after}"
            if tale.setup.custody is not None and _is_owed(tale, moment.at, Reconciled):
                yield moment.step, f"reconciliation before {after}"
        if after is Phase.OPEN and moment.what.before not in {Phase.POST_ONLY, Phase.AUCTION}:
            yield moment.step, f"post-only phase before {after}"
    for moment in tale.all(LiquidationStepped):
        if was_rebuilt(tale, moment.at, LoadConfirmed):
            yield moment.step, f"liquidation of {moment.what.client}"


def _is_owed(tale: Tale, end: int, by: type) -> bool:
    """Whether something happened since the last time that makes the step necessary."""
    start = last_time(tale, end, by)
    began = any(moment.what.after is Phase.MAINTENANCE for moment in tale.between(start, end, PhaseChanged))
    released = bool(tale.between(start, end, ReleaseDeployed, ReleaseActivated))
    return began or released or was_rebuilt(tale, end, by)


def was_rebuilt(tale: Tale, end: int, by: type) -> bool:
    """Whether a primary, or who has become it since, was rebuilt since the last time."""
    start = last_time(tale, end, by)
    for moment in tale.between(start, end, Acted, ReplicaChanged):
        if isinstance(moment.what, Acted):
            if isinstance(moment.what.record.step, Restart | RestoreSnapshot):
                return True
        elif moment.asked is not None and isinstance(moment.asked.command, StartReplica):
            replica = moment.what.replica
            if replica in {primary_at(tale, moment.at), primary_at(tale, end)}:
                return True
    return False


def last_time(tale: Tale, end: int, by: type) -> int:
    return max((tale.happened_at(moment) for moment in tale.between(0, end, by)), default=0)


def _is_resent(moment: Moment) -> bool:
    """Whether it was decided while nobody listened: nobody knows how the replicas were then."""
    return moment.asked is not None and moment.asked.resent
