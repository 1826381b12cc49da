"""Signing: what a venue takes from its signers, and what becomes of a signing when the venue dies in the middle."""

from collections.abc import Iterable, Iterator
from itertools import count

import pytest
from msgspec.structs import replace
from nacl.signing import VerifyKey

from holdfast.setups import CUSTODY_FROST_SETUP, CUSTODY_SETUP, frost_test_keys
from holdfast.signing_parties import SigningParties
from holdfast_engine import frost
from holdfast_engine.exchange import Exchange
from holdfast_engine.quorums import group_of
from holdfast_engine.signers import Signer
from holdfast_engine.storage import MemoryStorage
from holdfast_engine.venue import Venue
from holdfast_model.errors import HoldfastError
from holdfast_model.vocabulary import (
    NETWORK,
    AdvanceTime,
    Amount,
    ApproveWithdrawal,
    BroadcastPayment,
    Command,
    CommitNonce,
    CrashPoint,
    Event,
    FundHouse,
    Hex,
    KillReplica,
    NonceCommitted,
    PaymentBroadcast,
    PaymentIntent,
    PaymentSigned,
    PaymentStatus,
    Phase,
    PromoteReplica,
    Reason,
    RefundWithdrawal,
    Rejected,
    ReportBlock,
    ReportDeposit,
    RequestWithdrawal,
    RestartSigning,
    SetPhase,
    Setup,
    ShareReceived,
    SigningBegan,
    SigningRestarted,
    StartReplica,
    SubmitShare,
    TierRule,
    WithdrawalRefunded,
    message_of,
    structural_share,
    structural_signature,
)

FLOW: tuple[Command, ...] = (
    ReportBlock(asset="USD", height=1),
    ReportDeposit(asset="USD", transaction="d", client="alice", amount=Amount(9_000), height=1),
    ReportBlock(asset="USD", height=2),
    RequestWithdrawal(client="alice", withdrawal="w", asset="USD", amount=Amount(500), destination="x"),
    ApproveWithdrawal(client="alice", withdrawal="w"),
)
"""What comes before the signers have anything to say."""
PAYMENT = "alice/w"
RESTART, BROADCAST = RestartSigning(payment=PAYMENT), BroadcastPayment(payment=PAYMENT)
REFUND = RefundWithdrawal(client="alice", withdrawal="w")
IDENTITY = frost.IDENTITY.hex()
SMALL_ORDER = "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac03fa"
"""A point of order eight."""
NOT_CANONICAL = "ee" + "ff" * 30 + "7f"
"""The identity's encoding with the field's order added."""
OFF_CURVE = "02" + "00" * 31


def parties_of(setup: Setup) -> SigningParties:
    assert setup.custody is not None
    return SigningParties(setup, frost_test_keys(setup.custody))


class Desk(Venue):
    """A venue on which a withdrawal is approved, its signers beside it."""

    def __init__(self, setup: Setup) -> None:
        super().__init__(setup)
        self.parties = parties_of(setup)
        for command in FLOW:
            assert refusal(self.apply(command)) is None

    def apply(self, command: Command) -> tuple[Event, ...]:
        events = super().apply(command)
        self.parties.hear(events)
        return events

    def commitment(self, signer: str) -> CommitNonce:
        """What a signer says first."""
        said = self.parties.commitment(PAYMENT, signer)
        assert said is not None
        return said

    def share(self, signer: str) -> SubmitShare:
        """What a signer says next."""
        said = self.parties.share(PAYMENT, signer)
        assert said is not None
        return said

    @property
    def intent(self) -> PaymentIntent:
        """What was approved."""
        return self.payments[PAYMENT].intent


@pytest.fixture(params=[CUSTODY_SETUP, CUSTODY_FROST_SETUP], ids=["structural", "frost"])
def desk(request: pytest.FixtureRequest) -> Desk:
    setup: Setup = request.param
    return Desk(setup)


@pytest.fixture
def frost_desk() -> Desk:
    return Desk(CUSTODY_FROST_SETUP)


def refusal(events: Iterable[Event]) -> Reason | None:
    return next((event.reason for event in events if isinstance(event, Rejected)), None)


def committed(desk: Desk, *signers: str) -> Desk:
    for signer in signers:
        assert refusal(desk.apply(desk.commitment(signer))) is None
    return desk


# Two rounds --------------------------------------------------------------------------------------------------------


def test_the_last_commitment_begins_the_signing_and_the_last_share_signs(desk: Desk) -> None:
    first, second = desk.commitment("h3"), desk.commitment("h1")
    assert desk.apply(first) == (
        NonceCommitted(payment=PAYMENT, attempt=1, signer="h3", commitment=first.commitment),
    )
    assert desk.apply(second) == (
        NonceCommitted(payment=PAYMENT, attempt=1, signer="h1", commitment=second.commitment),
        SigningBegan(payment=PAYMENT, attempt=1, signers=("h3", "h1")),
    )
    share = desk.share("h1")
    assert desk.apply(share) == (ShareReceived(payment=PAYMENT, attempt=1, signer="h1", share=share.share),)
    assert [type(event) for event in desk.apply(desk.share("h3"))] == [ShareReceived, PaymentSigned]
    assert desk.payments[PAYMENT].status is PaymentStatus.SIGNED


def test_a_frost_signature_is_an_ordinary_ed25519_signature_of_the_approved_intent(frost_desk: Desk) -> None:
    committed(frost_desk, "h1", "h2")
    for signer in ("h1", "h2"):
        frost_desk.apply(frost_desk.share(signer))
    (broadcast,) = frost_desk.apply(BROADCAST)
    assert isinstance(broadcast, PaymentBroadcast)
    rule = frost_desk.tier_rules["hot"]
    key = VerifyKey(bytes.fromhex(rule.group_key))
    assert key.verify(message_of(broadcast.intent), bytes.fromhex(broadcast.signature))


def test_a_structural_signature_binds_message_commitments_and_shares() -> None:
    desk = committed(Desk(CUSTODY_SETUP), "h1", "h2")
    payment = desk.payments[PAYMENT]
    commitments = {item.signer: item.said for item in payment.commitments}
    shares = {signer: desk.share(signer) for signer in ("h1", "h2")}
    for share in shares.values():
        desk.apply(share)
    assert desk.payments[PAYMENT].signature == structural_signature(
        message=message_of(desk.intent),
        commitments=commitments,
        shares={signer: share.share for signer, share in shares.items()},
    )


def test_a_commitment_is_refused_for_the_first_reason_that_applies(desk: Desk) -> None:
    good = desk.commitment("h1")
    assert refusal(desk.apply(replace(good, payment="bob/w"))) is Reason.UNKNOWN_PAYMENT
    committed(desk, "h1")
    assert refusal(desk.apply(replace(good, signer="c1"))) is Reason.UNKNOWN_SIGNER
    assert refusal(desk.apply(replace(good, commitment="00"))) is Reason.ALREADY_SAID
    assert refusal(desk.apply(replace(good, signer="h2", commitment="00"))) is Reason.COMMITMENT_INVALID
    desk.apply(RESTART)
    assert refusal(desk.apply(good)) is Reason.COMMITMENT_REUSED
    committed(desk, "h1", "h2")
    third = desk.parties.signers["hot"]["h3"].commit(message_of(desk.intent))
    assert isinstance(third, str)
    late = CommitNonce(payment=PAYMENT, signer="h3", commitment=third)
    assert refusal(desk.apply(late)) is Reason.PAYMENT_NOT_OPEN


def test_a_share_is_refused_for_the_first_reason_that_applies(desk: Desk) -> None:
    wrong = SubmitShare(payment="bob/w", signer="h3", share="00")
    assert refusal(desk.apply(wrong)) is Reason.UNKNOWN_PAYMENT
    wrong = replace(wrong, payment=PAYMENT)
    assert refusal(desk.apply(wrong)) is Reason.PAYMENT_NOT_OPEN
    committed(desk, "h1", "h2")
    for stranger in ("h3", "c1", "nobody"):
        assert refusal(desk.apply(replace(wrong, signer=stranger))) is Reason.SIGNER_NOT_ASKED
    desk.apply(desk.share("h1"))
    assert refusal(desk.apply(replace(wrong, signer="h1"))) is Reason.ALREADY_SAID
    assert refusal(desk.apply(replace(wrong, signer="h2"))) is Reason.SHARE_INVALID
    assert desk.payments[PAYMENT].status is PaymentStatus.SIGNING


def test_fewer_signers_than_the_threshold_sign_nothing(desk: Desk) -> None:
    committed(desk, "h1")
    assert refusal(desk.apply(SubmitShare(payment=PAYMENT, signer="h1", share="00"))) is Reason.PAYMENT_NOT_OPEN
    assert refusal(desk.apply(BROADCAST)) is Reason.PAYMENT_NOT_OPEN
    committed(desk, "h2")
    desk.apply(desk.share("h1"))
    assert refusal(desk.apply(BROADCAST)) is Reason.PAYMENT_NOT_OPEN
    assert desk.payments[PAYMENT].signature == ""


# What is forged ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "changed",
    [
        {"payment": "alice/v"},
        {"asset": "BTC"},
        {"amount": Amount(501)},
        {"destination": "y"},
        {"tier": "cold"},
        {"fee": Amount(14)},
    ],
    ids=lambda changed: next(iter(changed)),
)
def test_a_share_over_another_intent_is_refused(desk: Desk, changed: dict[str, str | Amount]) -> None:
    committed(desk, "h1", "h2")
    commitments = desk.parties.signings[PAYMENT].commitments
    message = message_of(replace(desk.intent, **changed))
    signer = desk.parties.signers["hot"]["h1"]
    share = share_over(signer, message, commitments, frost_tier=desk.setup is CUSTODY_FROST_SETUP)
    forged = SubmitShare(payment=PAYMENT, signer="h1", share=share)
    assert refusal(desk.apply(forged)) is Reason.SHARE_INVALID
    assert refusal(desk.apply(desk.share("h1"))) is None


def share_over(signer: Signer, message: bytes, commitments: dict[str, Hex], *, frost_tier: bool) -> Hex:
    """What a signer that checks nothing would say over a message, with the nonce that is open."""
    if not frost_tier:
        return structural_share(signer=signer.name, message=message, commitments=commitments)
    (nonce,) = (item.nonce for item in signer._nonces.open)
    return signer.share(nonce, message, commitments)


def test_a_share_with_another_key_or_of_another_signer_or_of_a_given_up_attempt_is_refused(desk: Desk) -> None:
    committed(desk, "h1", "h2")
    other = replace(desk.share("h2"), signer="h1")
    assert refusal(desk.apply(other)) is Reason.SHARE_INVALID
    old = desk.share("h1")
    desk.apply(RESTART)
    assert refusal(desk.apply(old)) is Reason.PAYMENT_NOT_OPEN
    committed(desk, "h1", "h3")
    assert refusal(desk.apply(old)) is Reason.SHARE_INVALID


@pytest.mark.parametrize("bad", ["", "0", "zz", "00" * 31, "ff" * 32, "00" * 32, "AB" * 32])
def test_a_malformed_share_is_refused(frost_desk: Desk, bad: str) -> None:
    committed(frost_desk, "h1", "h2")
    forged = SubmitShare(payment=PAYMENT, signer="h1", share=bad)
    assert refusal(frost_desk.apply(forged)) is Reason.SHARE_INVALID


@pytest.mark.parametrize("bad", [IDENTITY, SMALL_ORDER, NOT_CANONICAL, OFF_CURVE, "", "00" * 31])
def test_a_commitment_to_what_is_no_point_of_the_group_is_refused(frost_desk: Desk, bad: str) -> None:
    good = frost_desk.commitment("h1").commitment
    for pair in (bad + good[64:], good[:64] + bad):
        forged = CommitNonce(payment=PAYMENT, signer="h1", commitment=pair)
        assert refusal(frost_desk.apply(forged)) is Reason.COMMITMENT_INVALID


def test_a_commitment_in_capitals_or_to_one_nonce_twice_is_refused(frost_desk: Desk) -> None:
    good = frost_desk.commitment("h1")
    for pair in (good.commitment.upper(), good.commitment[:64] * 2, good.commitment + "00"):
        assert refusal(frost_desk.apply(replace(good, commitment=pair))) is Reason.COMMITMENT_INVALID


def test_half_of_a_used_pair_of_nonces_is_used(frost_desk: Desk) -> None:
    used = frost_desk.commitment("h1")
    frost_desk.apply(used)
    fresh = frost_desk.commitment("h2")
    for pair in (used.commitment[:64] + fresh.commitment[64:], fresh.commitment[:64] + used.commitment[:64]):
        assert refusal(frost_desk.apply(replace(fresh, commitment=pair))) is Reason.COMMITMENT_REUSED
    assert refusal(frost_desk.apply(fresh)) is None


def test_a_structural_commitment_is_its_signer_s_over_the_intent_and_a_counter_is_used_once() -> None:
    desk = Desk(CUSTODY_SETUP)
    good = desk.commitment("h1")
    assert refusal(desk.apply(replace(good, signer="h2"))) is Reason.COMMITMENT_INVALID
    desk.apply(good)
    desk.apply(RequestWithdrawal(client="alice", withdrawal="v", asset="USD", amount=Amount(1), destination="x"))
    desk.apply(ApproveWithdrawal(client="alice", withdrawal="v"))
    lost = parties_of(CUSTODY_SETUP)  # a signer whose store was restored from before its first commitment
    lost.signings = desk.parties.signings
    again = lost.commitment("alice/v", "h1")
    assert again is not None
    assert again.commitment[:16] == good.commitment[:16]
    assert refusal(desk.apply(again)) is Reason.COMMITMENT_REUSED


def test_a_used_nonce_stays_used_in_every_snapshot_and_after_every_attempt(desk: Desk) -> None:
    used = desk.commitment("h1")
    desk.apply(used)
    desk.apply(RESTART)
    restored = Venue(desk.setup)
    restored.load(desk.state())
    for venue in (desk, restored):
        assert refusal(venue.apply(used)) is Reason.COMMITMENT_REUSED


# Attempts ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("said", range(4))
def test_a_signing_can_be_begun_anew_until_it_is_done(desk: Desk, said: int) -> None:
    for _ in range(said):
        command = desk.parties.next_to_say(PAYMENT)
        assert command is not None
        desk.apply(command)
    assert desk.apply(RESTART) == (SigningRestarted(payment=PAYMENT, attempt=2),)
    desk.parties.drive(PAYMENT, desk.apply)
    assert desk.payments[PAYMENT].status is PaymentStatus.SIGNED
    assert refusal(desk.apply(RESTART)) is Reason.PAYMENT_NOT_OPEN
    assert refusal(desk.apply(replace(RESTART, payment="bob/w"))) is Reason.UNKNOWN_PAYMENT


def test_an_attempt_that_nobody_has_begun_is_only_numbered_and_its_signers_give_up_what_never_arrived(
    desk: Desk,
) -> None:
    never_arrived, before, nonces = desk.commitment("h1"), desk.payments[PAYMENT], desk.state().nonces
    assert desk.commitment("h1") == never_arrived
    assert desk.apply(RESTART) == (SigningRestarted(payment=PAYMENT, attempt=2),)
    assert desk.payments[PAYMENT] == replace(before, attempt=2)
    assert desk.state().nonces == nonces
    assert desk.commitment("h1").commitment != never_arrived.commitment


def test_a_halted_venue_hears_no_signers(desk: Desk) -> None:
    said = desk.commitment("h1")
    desk.apply(SetPhase(phase=Phase.HALTED))
    assert refusal(desk.apply(said)) is Reason.PHASE_FORBIDS


# Keys --------------------------------------------------------------------------------------------------------------


def hot_rule() -> TierRule:
    assert CUSTODY_FROST_SETUP.custody is not None
    return CUSTODY_FROST_SETUP.custody.tiers[0]


def test_the_group_that_a_setup_s_keys_determine_is_the_one_that_was_dealt() -> None:
    assert CUSTODY_FROST_SETUP.custody is not None
    for rule in CUSTODY_FROST_SETUP.custody.tiers:
        key = frost_test_keys(CUSTODY_FROST_SETUP.custody)[rule.tier][rule.signers[0]]
        assert group_of(rule) == key.quorum.group


def test_keys_that_are_not_of_one_group_are_refused_by_name() -> None:
    rule = hot_rule()
    first, second, third = rule.verifying_shares
    for wrong, words in (
        (replace(rule, group_key=first), "group_key"),
        (replace(rule, verifying_shares=(second, first, third)), "group_key"),
        (replace(rule, verifying_shares=(first, second, first)), "h3"),
        (replace(rule, group_key=IDENTITY), "tier hot"),
        (replace(rule, verifying_shares=(first, second, SMALL_ORDER)), "tier hot"),
    ):
        with pytest.raises(HoldfastError, match=words):
            group_of(wrong)


def test_a_setup_whose_keys_do_not_fit_is_refused_and_nothing_is_forgotten() -> None:
    assert CUSTODY_FROST_SETUP.custody is not None
    rule = hot_rule()
    wrong = replace(rule, group_key=rule.verifying_shares[0])
    tiers = (wrong, *CUSTODY_FROST_SETUP.custody.tiers[1:])
    desk = Custodian(CUSTODY_FROST_SETUP)
    desk.submit(FLOW[0])
    with pytest.raises(HoldfastError, match="group_key"):
        desk.exchange.reset(replace(CUSTODY_FROST_SETUP, custody=replace(CUSTODY_FROST_SETUP.custody, tiers=tiers)))
    assert Exchange(desk.storage).view().seq == 1


# The venue dies ----------------------------------------------------------------------------------------------------


class Custodian:
    """An exchange with FROST signers whose stores are not restored with it, and everything that it ever told."""

    def __init__(self, setup: Setup) -> None:
        self.storage = MemoryStorage()
        self.exchange = Exchange(self.storage)
        self.exchange.reset(setup)
        self.parties = parties_of(setup)
        self.heard = self.begun = 0
        self.told: list[Event] = []

    def submit(self, command: Command) -> tuple[Event, ...]:
        """The answer, which the signers hear."""
        (answer,) = self.exchange.submit([command])
        self.catch_up()
        return answer.events

    def catch_up(self) -> None:
        """Hear all that was decided since it was last heard, also what was not answered."""
        for record in self.exchange.resend(self.heard):
            self.parties.hear(record.events)
            self.told += record.events
            self.heard = record.seq
            self.begun += record.command in FLOW

    def next_command(self, *, refunds: bool) -> Command | None:
        """What is to be done next for the withdrawal to end, in the state that the exchange shows."""
        if self.begun < len(FLOW):
            return FLOW[self.begun]
        said = self.parties.next_to_say(PAYMENT)
        if said is not None and refunds and self.parties.signings[PAYMENT].shared:
            return REFUND
        return said or next(
            (BROADCAST for item in self.exchange.view().payments if item.status is PaymentStatus.SIGNED), None
        )


def restarted(desk: Custodian) -> None:
    desk.exchange = Exchange(desk.storage)


def restored(desk: Custodian) -> None:
    desk.exchange.restore()


def failed_over(desk: Custodian) -> None:
    """The primary dies, another replica is promoted, and the dead one comes back."""
    primary = desk.exchange.view().primary
    assert primary is not None
    successor = {"n1": "n2", "n2": "n3", "n3": "n1"}[primary]
    for command in (
        KillReplica(replica=primary),
        PromoteReplica(replica=successor),
        StartReplica(replica=primary),
    ):
        assert refusal(desk.submit(command)) is None


FATES = {"restart": restarted, "restore": restored, "failover": failed_over}


def run(*, dies_at: int, point: CrashPoint | None, fate: str, snapshot_at: int, refunds: bool) -> Custodian:
    """The withdrawal, until nothing is left to be done; the venue dies once, with the step's command in flight."""
    desk = Custodian(CUSTODY_FROST_SETUP)
    for step in count():
        if step == snapshot_at:
            desk.exchange.snapshot()
        command = desk.next_command(refunds=refunds)
        if command is None:
            assert step > dies_at, "the venue died in the middle"
            return desk
        if step == dies_at:
            if point is not None:
                desk.exchange.crash(command, point)
                desk.exchange = Exchange(desk.storage)
            else:
                FATES[fate](desk)
            desk.catch_up()
            continue
        assert refusal(desk.submit(command)) is None, command
    raise AssertionError


STEPS = len(FLOW) + 5
"""Two commitments, two shares, the broadcast."""


def deaths() -> Iterator[tuple[CrashPoint | None, str]]:
    """Every way for the venue to die."""
    for point in CrashPoint:
        yield point, "restart"
    for fate in FATES:
        yield None, fate


@pytest.mark.parametrize("refunds", [False, True], ids=["paid", "refunded"])
@pytest.mark.parametrize(("point", "fate"), list(deaths()))
def test_a_signing_in_progress_ends_in_one_broadcast_or_one_refund_wherever_the_venue_dies(
    point: CrashPoint | None, fate: str, *, refunds: bool
) -> None:
    steps = STEPS - 1 if refunds else STEPS
    for dies_at in range(steps):
        for snapshot_at in (-1, dies_at // 2):
            desk = run(dies_at=dies_at, point=point, fate=fate, snapshot_at=snapshot_at, refunds=refunds)
            broadcasts = [event for event in desk.told if isinstance(event, PaymentBroadcast)]
            back = [event for event in desk.told if isinstance(event, WithdrawalRefunded)]
            assert (len(broadcasts), len(back)) == ((0, 1) if refunds else (1, 0))
            commitments = [event.commitment for event in desk.told if isinstance(event, NonceCommitted)]
            assert len(set(commitments)) == len(commitments) == 2


def test_after_a_failover_the_signing_goes_on_where_it_was_and_the_time_lock_holds() -> None:
    desk = Custodian(CUSTODY_FROST_SETUP)
    for command in (*FLOW[:3], FundHouse(account=NETWORK, asset="USD", amount=Amount(90_000), transaction="h")):
        assert refusal(desk.submit(command)) is None
    assert refusal(desk.submit(AdvanceTime(time_ms=7))) is None
    for command in FLOW[3:]:
        assert refusal(desk.submit(command)) is None
    first = desk.parties.next_to_say(PAYMENT)
    assert first is not None
    desk.submit(first)
    failed_over(desk)
    desk.parties.drive(PAYMENT, desk.submit)
    (shown,) = desk.exchange.view().payments
    assert (shown.status, shown.attempt) == (PaymentStatus.SIGNED, 1)
    assert len({replica.state_sha256 for replica in desk.exchange.view().replicas}) == 1
