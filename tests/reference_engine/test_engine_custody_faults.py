"""Each planted fault of custody shows: the faulty venue answers a short sequence otherwise than the healthy one."""

import pytest
from msgspec.structs import replace

from holdfast_engine.faults.custody import FAULTS
from holdfast_engine.faults.fault import Fault
from holdfast_engine.state import VenueState
from holdfast_engine.venue import Venue
from holdfast_model.vocabulary import (
    NETWORK,
    Amount,
    ApproveWithdrawal,
    AssetAmount,
    BroadcastPayment,
    ChainRule,
    Command,
    CommitNonce,
    CustodyRules,
    Events,
    FundHouse,
    PaymentIntent,
    Phase,
    PublishLiabilities,
    RefundWithdrawal,
    ReportBlock,
    ReportDeposit,
    ReportPayment,
    ReportReorganisation,
    RequestWithdrawal,
    RestartSigning,
    SetPhase,
    Setup,
    SubmitShare,
    SuspendAsset,
    SweepFunds,
    TierRule,
    message_of,
    structural_commitment,
    structural_share,
)
from holdfast_model.vocabulary.wire import decode, encode

SETUP = Setup(
    assets=("BTC", "USD"),
    markets=(),
    clients=("alice", "bob"),
    custody=CustodyRules(
        tiers=(
            TierRule(
                tier="hot",
                signers=("h1", "h2", "h3"),
                threshold=2,
                payment_max=(AssetAmount(asset="BTC", amount=Amount(50)),),
                balance_max=(AssetAmount(asset="BTC", amount=Amount(200)),),
            ),
            TierRule(
                tier="cold",
                signers=("c1",),
                threshold=1,
                delay_ms=1_000,
                payment_max=(AssetAmount(asset="BTC", amount=Amount(500)),),
            ),
        ),
        chains=(ChainRule(asset="BTC", confirmations=2, fee=Amount(1)), ChainRule(asset="USD", confirmations=1)),
    ),
)
RESTORE = None
"""A step of a sequence: a snapshot is taken, and the venue restored from it."""
Step = Command | None
INTENT = PaymentIntent(
    payment="alice/w", asset="BTC", amount=Amount(40), destination="home", tier="hot", fee=Amount(1)
)
DOWN = PaymentIntent(
    payment="@sweep/down", asset="BTC", amount=Amount(50), destination="@tier/cold", tier="hot", fee=Amount(1)
)
UP = PaymentIntent(
    payment="@sweep/up", asset="BTC", amount=Amount(30), destination="@tier/hot", tier="cold", fee=Amount(1)
)


def block(height: int) -> ReportBlock:
    return ReportBlock(asset="BTC", height=height)


def deposit(height: int, *, name: str = "d", amount: int = 100) -> ReportDeposit:
    return ReportDeposit(asset="BTC", transaction=name, client="alice", amount=Amount(amount), height=height)


def sweep(intent: PaymentIntent, *, name: str = "") -> SweepFunds:
    return SweepFunds(
        sweep=name or intent.payment.removeprefix("@sweep/"),
        asset=intent.asset,
        amount=intent.amount,
        source=intent.tier,
        target=intent.destination.removeprefix("@tier/"),
    )


def commit(signer: str, counter: int, intent: PaymentIntent = INTENT) -> CommitNonce:
    said = structural_commitment(signer=signer, message=message_of(intent), counter=counter)
    return CommitNonce(payment=intent.payment, signer=signer, commitment=said)


def share(signer: str, said: list[CommitNonce], intent: PaymentIntent = INTENT) -> SubmitShare:
    package = {item.signer: item.commitment for item in said}
    text = structural_share(signer=signer, message=message_of(intent), commitments=package)
    return SubmitShare(payment=intent.payment, signer=signer, share=text)


def signed(intent: PaymentIntent, counter: int, *signers: str) -> list[Step]:
    said = [commit(signer, counter, intent) for signer in signers]
    return [*said, *(share(signer, said, intent) for signer in signers)]


def request(amount: int = 40) -> RequestWithdrawal:
    return RequestWithdrawal(client="alice", withdrawal="w", asset="BTC", amount=Amount(amount), destination="home")


APPROVE = ApproveWithdrawal(client="alice", withdrawal="w")
REFUND = RefundWithdrawal(client="alice", withdrawal="w")
BROADCAST = BroadcastPayment(payment="alice/w")
PAID_IN = FundHouse(account=NETWORK, asset="BTC", amount=Amount(20), transaction="n")
FUNDED: list[Step] = [block(1), deposit(1), block(2), PAID_IN]
APPROVED = [*FUNDED, request(), APPROVE]
SAID = [commit("h1", 1), commit("h2", 1)]
SIGNING = [*APPROVED, *SAID]
SIGNED = [*APPROVED, *signed(INTENT, 1, "h1", "h2")]
CHANGED = ReportPayment(payment="alice/w", transaction="changed", height=3)
IN_COLD = [
    *FUNDED,
    sweep(DOWN),
    *signed(DOWN, 5, "h1", "h2"),
    BroadcastPayment(payment="@sweep/down"),
    ReportPayment(payment="@sweep/down", transaction="x", height=2),
    block(3),
]
CLOSED = SuspendAsset(asset="BTC", deposits_open=False, withdrawals_open=True)
LOST = ReportReorganisation(asset="BTC", height=1)

SEQUENCES: dict[str, list[Step]] = {
    "final-too-early": [block(1), deposit(1)],
    "orphaned-deposit-kept": [block(1), deposit(1), LOST],
    "deposit-credited-again-after-reorganisation": [*FUNDED, LOST, block(1), deposit(1), block(2)],
    "deposit-credited-to-another": [block(1), deposit(1), block(2)],
    "deposit-in-another-unit": [block(1), deposit(1), block(2)],
    "backlog-applied-twice": [*FUNDED, deposit(1)],
    "credited-while-suspended": [block(1), deposit(1), CLOSED, block(2)],
    "payment-known-by-transaction-id": [*SIGNED, BROADCAST, block(3), CHANGED],
    "refund-of-signed-payment": [*SIGNED, REFUND],
    "refund-out-of-custody-in-another-asset": [*FUNDED, request(), REFUND],
    "payment-broadcast-again": [*SIGNED, BROADCAST, BROADCAST],
    "negative-balance-accepted": [*FUNDED, request(500)],
    "share-too-few": [*SIGNING, share("h1", SAID)],
    "signer-counted-twice": [*SIGNING, share("h1", SAID), share("h1", SAID)],
    "forged-share-accepted": [*SIGNING, replace(share("h1", SAID), share="ab" * 32)],
    "intent-changed-after-approval": [*SIGNED, BROADCAST],
    "nonce-taken-again": [*SIGNING, RestartSigning(payment="alice/w"), commit("h1", 1)],
    "nonces-forgotten-by-restore": [*SIGNING, RESTORE, RestartSigning(payment="alice/w"), commit("h1", 1)],
    "time-lock-ignored": [*IN_COLD, sweep(UP), *signed(UP, 1, "c1"), BroadcastPayment(payment="@sweep/up")],
    "tier-limit-ignored": [*FUNDED, request(60), APPROVE],
    "tier-overfilled": [*IN_COLD, deposit(3, name="e", amount=110), block(4), sweep(UP)],
    "tier-promised-twice": [*IN_COLD, sweep(UP), sweep(UP, name="again")],
    "mismatch-unnoticed": [*FUNDED, LOST],
    "mismatch-without-halt": [*FUNDED, LOST],
    "mismatch-muted-in-maintenance": [
        PAID_IN,
        SetPhase(phase=Phase.CANCEL_ONLY),
        SetPhase(phase=Phase.MAINTENANCE),
    ],
    "client-left-out-of-tree": [*FUNDED, PublishLiabilities(asset="BTC")],
    "held-left-out-of-tree": [*FUNDED, request(), PublishLiabilities(asset="BTC")],
}


def run(fault: Fault | None, steps: list[Step]) -> list[Events]:
    """What a venue answers to each step."""
    venue_class = Venue if fault is None else fault.parts.venue
    venue = venue_class(SETUP)
    answers: list[Events] = []
    for step in steps:
        if step is not None:
            answers.append(venue.apply(step))
            continue
        state = decode(encode(venue.state()), VenueState)
        venue = venue_class(SETUP)
        venue.load(state if fault is None else fault.parts.recovery().snapshot(state))
    return answers


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.name)
def test_a_planted_fault_of_custody_answers_the_last_step_of_its_sequence_otherwise(fault: Fault) -> None:
    healthy, faulty = run(None, SEQUENCES[fault.name]), run(fault, SEQUENCES[fault.name])
    assert faulty[:-1] == healthy[:-1]
    assert faulty[-1] != healthy[-1]


def test_there_is_a_sequence_for_each_fault_of_custody() -> None:
    assert SEQUENCES.keys() == {fault.name for fault in FAULTS}
