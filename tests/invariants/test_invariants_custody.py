"""CUST-1 to CUST-6, and what the older invariants know of custody, on histories made by hand."""

from hashlib import sha256
from typing import Any

import pytest
from msgspec import Struct
from msgspec.structs import replace
from nacl.signing import SigningKey
from slow_forms.forms import assert_both_find_the_same

from holdfast_invariants.auditor import Auditor
from holdfast_invariants.catalogue import CATALOGUE, invariant_by_id
from holdfast_model.vocabulary import (
    ARRIVING,
    NETWORK,
    OUTSIDE,
    Amount,
    Answer,
    ApproveWithdrawal,
    AssetAmount,
    AssetStatus,
    AssetSuspended,
    AttestCustody,
    Balance,
    BlockReported,
    BroadcastPayment,
    Bucket,
    CauseKind,
    ChainReorganised,
    ChainRule,
    Command,
    CommitNonce,
    CoverShortfall,
    Custody,
    CustodyRules,
    DepositCredited,
    DepositFinalised,
    DepositOrphaned,
    DepositSeen,
    EntryPosted,
    Event,
    FundHouse,
    HouseFunded,
    Liabilities,
    LiabilitiesPublished,
    Liability,
    MismatchFound,
    NonceCommitted,
    PaymentApproved,
    PaymentBroadcast,
    PaymentIncluded,
    PaymentIntent,
    PaymentSigned,
    PendingDeposit,
    Phase,
    PhaseChanged,
    Posting,
    PublishLiabilities,
    Reason,
    Record,
    RefundWithdrawal,
    Rejected,
    ReportBlock,
    ReportDeposit,
    ReportPayment,
    ReportReorganisation,
    RequestWithdrawal,
    RestartSigning,
    Scheme,
    SetPhase,
    Setup,
    ShareReceived,
    ShortfallCovered,
    SigningBegan,
    SigningRestarted,
    SubmitShare,
    SuspendAsset,
    SweepCompleted,
    SweepFunds,
    TakeSnapshot,
    TierRule,
    TimeAdvanced,
    View,
    Withdrawal,
    WithdrawalPaid,
    WithdrawalRefunded,
    WithdrawalRequested,
    WithdrawalStatus,
    build_liabilities,
    message_of,
    structural_commitment,
    structural_share,
    structural_signature,
)
from holdfast_model.vocabulary.commands import AdvanceTime

FREE, HELD = Bucket.FREE, Bucket.HELD
HOT = TierRule(
    tier="hot",
    signers=("h1", "h2", "h3"),
    threshold=2,
    payment_max=(AssetAmount(asset="BTC", amount=Amount(50)),),
    balance_max=(AssetAmount(asset="BTC", amount=Amount(150)),),
)
COLD = TierRule(tier="cold", signers=("c1", "c2"), threshold=1, delay_ms=1_000)
SETUP = Setup(
    assets=("BTC", "USD"),
    markets=(),
    clients=("alice", "bob"),
    custody=CustodyRules(
        tiers=(HOT, COLD),
        chains=(ChainRule(asset="BTC", confirmations=2, fee=Amount(3)), ChainRule(asset="USD", confirmations=1)),
    ),
)
CUST = tuple(entry for entry in CATALOGUE if entry.id in {f"CUST-{number}" for number in range(1, 7)})
ALL = (
    *CUST,
    *(invariant_by_id(name) for name in ("CONS-1", "CONS-2", "CONS-4", "FINAL-2", "FINAL-4", "MAINT-1", "AUDIT-1")),
)


# Words --------------------------------------------------------------------------------------------------------------


def told(step: Command, *events: Event) -> Record:
    return Record(step=step, answers=(Answer(events=events),))


def entry(kind: CauseKind, cause: str, *lines: tuple[str, Bucket, int], asset: str = "BTC") -> EntryPosted:
    return EntryPosted(
        cause_kind=kind,
        cause=cause,
        postings=tuple(
            Posting(account=account, bucket=bucket, asset=asset, amount=Amount(amount))
            for account, bucket, amount in lines
        ),
    )


def seen(
    transaction: str = "t1",
    amount: int = 100,
    height: int = 1,
    *,
    client: str = "alice",
    more: tuple[Event, ...] = (),
) -> Record:
    words: dict[str, Any] = {
        "asset": "BTC",
        "transaction": transaction,
        "client": client,
        "amount": Amount(amount),
        "height": height,
    }
    return told(ReportDeposit(**words), DepositSeen(**words), *more)


def final(transaction: str = "t1", amount: int = 100, client: str = "alice") -> tuple[Event, ...]:
    words: dict[str, Any] = {"asset": "BTC", "transaction": transaction, "client": client, "amount": Amount(amount)}
    return (
        DepositFinalised(**words),
        entry(CauseKind.ARRIVAL, transaction, (OUTSIDE, FREE, -amount), (ARRIVING, FREE, amount)),
    )


def credited(transaction: str = "t1", amount: int = 100, client: str = "alice") -> tuple[Event, ...]:
    words: dict[str, Any] = {"asset": "BTC", "transaction": transaction, "client": client, "amount": Amount(amount)}
    return (
        DepositCredited(**words),
        entry(CauseKind.DEPOSIT, transaction, (ARRIVING, FREE, -amount), (client, FREE, amount)),
    )


def block(height: int, *events: Event) -> Record:
    return told(ReportBlock(asset="BTC", height=height), BlockReported(asset="BTC", height=height), *events)


def reorganised(height: int, *events: Event) -> Record:
    command = ReportReorganisation(asset="BTC", height=height)
    return told(command, ChainReorganised(asset="BTC", height=height), *events)


def mismatch(found: int, expected: int, *, tier: str = "hot", halts: bool = True) -> tuple[Event, ...]:
    halt = PhaseChanged(before=Phase.OPEN, after=Phase.HALTED)
    event = MismatchFound(place=tier, asset="BTC", found=Amount(found), expected=Amount(expected))
    return (event, halt) if halts else (event,)


def suspend(*closed: str, more: tuple[Event, ...] = ()) -> Record:
    """Which of deposits and withdrawals are closed from now on."""
    words: dict[str, Any] = {
        "asset": "BTC",
        "deposits_open": "deposits" not in closed,
        "withdrawals_open": "withdrawals" not in closed,
    }
    return told(SuspendAsset(**words), AssetSuspended(**words), *more)


def requested(amount: int = 40, name: str = "w", fee: int = 3) -> Record:
    words: dict[str, Any] = {
        "client": "alice",
        "withdrawal": name,
        "asset": "BTC",
        "amount": Amount(amount),
        "destination": "home",
    }
    held = entry(
        CauseKind.WITHDRAWAL_HOLD, f"alice/{name}", ("alice", FREE, -amount - fee), ("alice", HELD, amount + fee)
    )
    return told(RequestWithdrawal(**words), WithdrawalRequested(**words, fee=Amount(fee)), held)


INTENT = PaymentIntent(
    payment="alice/w", asset="BTC", amount=Amount(40), destination="home", tier="hot", fee=Amount(3)
)
SWEEP = PaymentIntent(
    payment="@sweep/s", asset="BTC", amount=Amount(20), destination="@tier/cold", tier="hot", fee=Amount(3)
)


def approved(intent: PaymentIntent = INTENT, not_before: int = 0) -> Record:
    client, _, withdrawal = intent.payment.partition("/")
    command = ApproveWithdrawal(client=client, withdrawal=withdrawal)
    return told(command, PaymentApproved(intent=intent, not_before_ms=not_before))


def commitment(signer: str, counter: int = 1, intent: PaymentIntent = INTENT) -> str:
    return structural_commitment(signer=signer, message=message_of(intent), counter=counter)


def commit(signer: str, counter: int = 1, *events: Event, intent: PaymentIntent = INTENT, attempt: int = 1) -> Record:
    said = commitment(signer, counter, intent)
    return told(
        CommitNonce(payment=intent.payment, signer=signer, commitment=said),
        NonceCommitted(payment=intent.payment, attempt=attempt, signer=signer, commitment=said),
        *events,
    )


def asks(*signers: str, intent: PaymentIntent = INTENT, attempt: int = 1) -> SigningBegan:
    return SigningBegan(payment=intent.payment, attempt=attempt, signers=signers)


PACKAGE = {signer: commitment(signer) for signer in ("h1", "h2")}
SHARES = {
    signer: structural_share(signer=signer, message=message_of(INTENT), commitments=PACKAGE) for signer in PACKAGE
}
SIGNATURE = structural_signature(message=message_of(INTENT), commitments=PACKAGE, shares=SHARES)
SWEEP_PACKAGE = {signer: commitment(signer, 2, SWEEP) for signer in ("h1", "h2")}
SWEEP_SHARES = {
    signer: structural_share(signer=signer, message=message_of(SWEEP), commitments=SWEEP_PACKAGE)
    for signer in SWEEP_PACKAGE
}
SWEEP_SIGNATURE = structural_signature(message=message_of(SWEEP), commitments=SWEEP_PACKAGE, shares=SWEEP_SHARES)


def share(signer: str, *events: Event, said: str = "", payment: str = "alice/w", attempt: int = 1) -> Record:
    text = said or SHARES[signer]
    return told(
        SubmitShare(payment=payment, signer=signer, share=text),
        ShareReceived(payment=payment, attempt=attempt, signer=signer, share=text),
        *events,
    )


SIGNED = PaymentSigned(payment="alice/w", signature=SIGNATURE)


def broadcast(intent: PaymentIntent = INTENT, signature: str = SIGNATURE, name: str = "x1") -> Record:
    event = PaymentBroadcast(intent=intent, signature=signature, transaction=name)
    return told(BroadcastPayment(payment=intent.payment), event)


def included(height: int, transaction: str = "x1", payment: str = "alice/w") -> Record:
    words: dict[str, Any] = {"payment": payment, "transaction": transaction, "height": height}
    return told(ReportPayment(**words), PaymentIncluded(**words))


WITHDRAWAL: dict[str, Any] = {
    "client": "alice",
    "withdrawal": "w",
    "asset": "BTC",
    "amount": Amount(40),
    "fee": Amount(3),
}
PAID = (
    WithdrawalPaid(**WITHDRAWAL),
    entry(CauseKind.WITHDRAWAL_PAYMENT, "alice/w", ("alice", HELD, -43), (OUTSIDE, FREE, 43)),
)
BACK = (
    WithdrawalRefunded(**WITHDRAWAL),
    entry(CauseKind.WITHDRAWAL_REFUND, "alice/w", ("alice", HELD, -43), ("alice", FREE, 43)),
)
REFUND = RefundWithdrawal(client="alice", withdrawal="w")
SWEPT_FUNDS = SweepFunds(sweep="s", asset="BTC", amount=Amount(20), source="hot", target="cold")
HOLD_FEE = entry(CauseKind.NETWORK_FEE, "@sweep/s", (NETWORK, FREE, -3), (NETWORK, HELD, 3))


def sweep(intent: PaymentIntent = SWEEP, *, asked: SweepFunds = SWEPT_FUNDS, not_before: int = 0) -> Record:
    return told(asked, PaymentApproved(intent=intent, not_before_ms=not_before), HOLD_FEE)


def completed(**other: Any) -> tuple[Event, ...]:  # noqa: ANN401 - fields
    words: dict[str, Any] = {
        "sweep": "s",
        "asset": "BTC",
        "amount": Amount(20),
        "fee": Amount(3),
        "source": "hot",
        "target": "cold",
    }
    fee = entry(CauseKind.NETWORK_FEE, "@sweep/s", (NETWORK, HELD, -3), (OUTSIDE, FREE, 3))
    return (SweepCompleted(**(words | other)), fee)


def refused(step: Command, reason: Reason) -> Record:
    return told(step, Rejected(reason=reason))


def phase(before: Phase, after: Phase) -> Record:
    return told(SetPhase(phase=after), PhaseChanged(before=before, after=after))


def cover(amount: int, transaction: str = "c") -> Record:
    words: dict[str, Any] = {"asset": "BTC", "amount": Amount(amount), "transaction": transaction}
    return told(CoverShortfall(**words), ShortfallCovered(**words))


def owed(**amounts: int) -> list[Liability]:
    return [Liability(account=name, asset="BTC", amount=Amount(amounts.get(name, 0))) for name in SETUP.clients]


def published(**amounts: int) -> Record:
    tree = build_liabilities("BTC", owed(**amounts), salt_key=sha256(b"holdfast liabilities BTC 0").digest())
    event = LiabilitiesPublished(asset="BTC", root=tree.root, total=tree.total, accounts=2)
    return told(PublishLiabilities(asset="BTC"), event)


def view(*, tiers: dict[str, int], balances: dict[tuple[str, Bucket], int], **more: Any) -> Record:  # noqa: ANN401
    shown = View(
        seq=0,
        custody=tuple(Custody(tier=tier, asset="BTC", amount=Amount(amount)) for tier, amount in tiers.items()),
        balances=tuple(
            Balance(account=account, bucket=bucket, asset="BTC", amount=Amount(amount))
            for (account, bucket), amount in balances.items()
        ),
        journal_sha256="0" * 64,
        **more,
    )
    return Record(step=TakeSnapshot(), view=shown)


ARRIVED = [block(1), seen(), block(2, *final(), *credited())]
REQUESTED = [*ARRIVED, requested()]
APPROVED = [*REQUESTED, approved()]
SIGNING = [*APPROVED, commit("h1"), commit("h2", 1, asks("h1", "h2"))]
ONE_SHARE = [*SIGNING, share("h1")]
ALL_SIGNED = [*ONE_SHARE, share("h2", SIGNED)]
SENT = [*ALL_SIGNED, broadcast()]
INCLUDED = [*SENT, included(2)]
ENDED = [*INCLUDED, block(3, *PAID)]
NETWORKED = [
    *ARRIVED,
    told(
        FundHouse(account=NETWORK, asset="BTC", amount=Amount(30), transaction="n"),
        HouseFunded(account=NETWORK, asset="BTC", amount=Amount(30), transaction="n"),
        entry(CauseKind.HOUSE_FUNDING, "n", (OUTSIDE, FREE, -30), (NETWORK, FREE, 30)),
    ),
]
SWEEPING = [
    *NETWORKED,
    sweep(),
    commit("h1", 2, intent=SWEEP),
    commit("h2", 2, asks("h1", "h2", intent=SWEEP), intent=SWEEP),
    share("h1", said=SWEEP_SHARES["h1"], payment="@sweep/s"),
    share(
        "h2",
        PaymentSigned(payment="@sweep/s", signature=SWEEP_SIGNATURE),
        said=SWEEP_SHARES["h2"],
        payment="@sweep/s",
    ),
    broadcast(SWEEP, SWEEP_SIGNATURE, "x2"),
    included(2, "x2", "@sweep/s"),
]
SWEPT = [*SWEEPING, block(3, *completed())]
INTO_HOT = replace(SWEEP, destination="@tier/hot")
SWEEP_UP = SweepFunds(sweep="up", asset="BTC", amount=Amount(10), source="cold", target="hot")
UP = replace(SWEEP, payment="@sweep/up", amount=Amount(10), destination="@tier/hot", tier="cold")
UP_PACKAGE = {"c1": commitment("c1", 3, UP)}
UP_SHARE = structural_share(signer="c1", message=message_of(UP), commitments=UP_PACKAGE)
UP_SIGNATURE = structural_signature(message=message_of(UP), commitments=UP_PACKAGE, shares={"c1": UP_SHARE})
DEEP = reorganised(1, DepositOrphaned(asset="BTC", transaction="t1"), *mismatch(0, 100))
CHAINS = (
    AssetStatus(asset="BTC", height=2, provider_up=True, deposits_open=True, withdrawals_open=True),
    AssetStatus(asset="USD", height=0, provider_up=True, deposits_open=True, withdrawals_open=True),
)

# What holds ---------------------------------------------------------------------------------------------------------

HOLDING = {
    "a deposit is credited with its second confirmation": ARRIVED,
    "a deposit that is reported late is final at once": [block(5), seen(height=2, more=(*final(), *credited()))],
    "a shallow reorganisation": [
        block(1),
        seen(),
        reorganised(1, DepositOrphaned(asset="BTC", transaction="t1")),
        block(1),
        seen(),
        block(2, *final(), *credited()),
    ],
    "a deposit waits while its asset is suspended": [
        block(1),
        seen(),
        suspend("deposits"),
        block(2, *final()),
        suspend(more=credited()),
    ],
    "what is final waits until a chain that became shorter confirms it again": [
        block(1),
        seen(),
        suspend("deposits"),
        block(2, *final()),
        reorganised(2),
        suspend(),
        block(2, *credited()),
    ],
    "a withdrawal is paid, under a changed transaction id": [*SENT, included(2, "changed"), block(3, *PAID)],
    "a withdrawal is refunded while it is being signed": [*ONE_SHARE, told(REFUND, *BACK)],
    "signing begins again with new commitments": [
        *ONE_SHARE,
        told(RestartSigning(payment="alice/w"), SigningRestarted(payment="alice/w", attempt=2)),
        commit("h1", 2, attempt=2),
    ],
    "a payment is included again after a reorganisation": [
        *INCLUDED,
        reorganised(2),
        block(2),
        included(2, "again"),
        block(3, *PAID),
    ],
    "a sweep": SWEPT,
    "a locked payment, once it is time": [
        *SWEPT,
        sweep(UP, asked=SWEEP_UP, not_before=1_000),
        commit("c1", 3, asks("c1", intent=UP), intent=UP),
        share("c1", PaymentSigned(payment="@sweep/up", signature=UP_SIGNATURE), said=UP_SHARE, payment="@sweep/up"),
        told(AdvanceTime(time_ms=1_000), TimeAdvanced(time_ms=1_000)),
        broadcast(UP, UP_SIGNATURE, "x3"),
    ],
    "a deep reorganisation is found, and halts": [*ARRIVED, DEEP],
    "what was lost comes back": [
        *ARRIVED,
        DEEP,
        block(2),
        seen(height=2),
        block(3, final()[0], *mismatch(100, 0, halts=False)),
        phase(Phase.HALTED, Phase.CANCEL_ONLY),
    ],
    "what was lost comes back, and with it what is new": [
        *ARRIVED,
        DEEP,
        block(2),
        seen(height=2),
        seen("t2", 7, 2),
        block(3, final()[0], *mismatch(100, 0, halts=False), *final("t2", 7), *credited("t2", 7)),
    ],
    "a payment that was paid is undone, and final again": [
        *ENDED,
        reorganised(2, *mismatch(100, 57)),
        block(2),
        included(2),
        block(3, *mismatch(57, 100, halts=False)),
        view(
            tiers={"hot": 57},
            balances={("alice", FREE): 57, (OUTSIDE, FREE): -57},
            chains=(replace(CHAINS[0], height=3), CHAINS[1]),
            withdrawals=(Withdrawal(**WITHDRAWAL, status=WithdrawalStatus.PAID, destination="home"),),
            phase=Phase.HALTED,
        ),
    ],
    "what was lost is covered in two parts": [
        *ARRIVED,
        DEEP,
        cover(30),
        cover(70, "d"),
        phase(Phase.HALTED, Phase.CANCEL_ONLY),
    ],
    "what was lost is covered": [*ARRIVED, DEEP, cover(100), phase(Phase.HALTED, Phase.CANCEL_ONLY)],
    "an attestation that differs halts": [
        *ARRIVED,
        told(AttestCustody(tier="hot", asset="BTC", amount=Amount(70)), *mismatch(70, 100)),
    ],
    "an attestation that does not": [*ARRIVED, told(AttestCustody(tier="hot", asset="BTC", amount=Amount(100)))],
    "liabilities": [*REQUESTED, published(alice=100)],
    "a view": [
        *ARRIVED,
        view(tiers={"hot": 100}, balances={("alice", FREE): 100, (OUTSIDE, FREE): -100}, chains=CHAINS),
    ],
}


@pytest.mark.parametrize("name", HOLDING)
def test_nothing_is_reported_where_nothing_is_wrong_in_custody(name: str) -> None:
    auditor = Auditor(SETUP, catalogue=ALL)
    for record in HOLDING[name]:
        assert auditor.watch(record) == []
    assert sum(entry.checked for entry in auditor.coverage() if entry.id.startswith("CUST")) > 0


def test_a_detected_mismatch_is_told_apart_from_an_undetected_one() -> None:
    auditor = Auditor(SETUP, catalogue=ALL)
    for record in [*ARRIVED, DEEP]:
        auditor.watch(record)
    custody = auditor.told.custody
    assert custody is not None
    assert (custody.difference("BTC"), custody.is_found("BTC")) == (-100, True)


# What does not ------------------------------------------------------------------------------------------------------


class Case(Struct, frozen=True, kw_only=True):
    invariant: str
    good: list[Record]
    bad: Record
    subject: str
    found: str


def case(name: str, invariant: str, good: list[Record], bad: Record, subject: str, found: str) -> Any:  # noqa: ANN401, PLR0917 - a line of a table
    return pytest.param(
        Case(invariant=invariant, good=good, bad=bad, subject=subject, found=found), id=f"{invariant}-{name}"
    )


OTHER = replace(INTENT, amount=Amount(41))
PAUSED_FOR_MAINTENANCE = phase(Phase.CANCEL_ONLY, Phase.MAINTENANCE)


def pending(transaction: str) -> PendingDeposit:
    return PendingDeposit(
        asset="BTC", transaction=transaction, client="alice", amount=Amount(100), height=1, final=False
    )


CASES = [
    # MAINT-1
    case(
        "a deposit that was on its way is gone",
        "MAINT-1",
        [block(1), seen(), seen("t2"), phase(Phase.OPEN, Phase.CANCEL_ONLY), PAUSED_FOR_MAINTENANCE],
        view(tiers={}, balances={}, phase=Phase.MAINTENANCE, deposits=(pending("t2"),)),
        "deposit BTC/t1",
        "nothing after maintenance",
    ),
    case(
        "a payment that was under way is gone",
        "MAINT-1",
        [*APPROVED, phase(Phase.OPEN, Phase.CANCEL_ONLY), PAUSED_FOR_MAINTENANCE],
        view(tiers={"hot": 100}, balances={("alice", FREE): 57, ("alice", HELD): 43}, phase=Phase.MAINTENANCE),
        "payment alice/w",
        "nothing after maintenance",
    ),
    # CUST-1
    case(
        "a payment that is on its chain is not heard of",
        "CUST-1",
        [
            *SENT,
            refused(ReportPayment(payment="alice/w", transaction="x1", height=2), Reason.PAYMENT_NOT_OPEN),
        ],
        block(3),
        "custody of BTC",
        "57 BTC are in custody and 100 are owed; nothing was said",
    ),
    case(
        "a deep reorganisation is not noticed",
        "CUST-1",
        ARRIVED,
        reorganised(1, DepositOrphaned(asset="BTC", transaction="t1")),
        "custody of BTC",
        "0 BTC are in custody and 100 are owed; nothing was said",
    ),
    case(
        "a mismatch is found, and trading goes on",
        "CUST-1",
        ARRIVED,
        reorganised(1, DepositOrphaned(asset="BTC", transaction="t1"), *mismatch(0, 100, halts=False)),
        "custody of BTC",
        "0 BTC are in custody and 100 are owed; it was found, and the phase is open",
    ),
    case(
        "the halt is left before the mismatch is healed",
        "CUST-1",
        [*ARRIVED, DEEP],
        phase(Phase.HALTED, Phase.CANCEL_ONLY),
        "custody of BTC",
        "0 BTC are in custody and 100 are owed; it was found, and the phase is cancel_only",
    ),
    case(
        "a mismatch that is found in maintenance does not halt",
        "CUST-1",
        [*ARRIVED, phase(Phase.OPEN, Phase.CANCEL_ONLY), PAUSED_FOR_MAINTENANCE],
        told(
            AttestCustody(tier="hot", asset="BTC", amount=Amount(70)),
            *mismatch(70, 100, halts=False),
        ),
        "custody of BTC",
        "70 BTC are in custody and 100 are owed; it was found, and the phase is maintenance",
    ),
    case(
        "a shortfall is covered beyond what is owed",
        "CUST-1",
        [*ARRIVED, DEEP],
        cover(120),
        "custody of BTC",
        "120 BTC are in custody and 100 are owed; nothing was said",
    ),
    case(
        "an attestation is ignored",
        "CUST-1",
        ARRIVED,
        told(AttestCustody(tier="hot", asset="BTC", amount=Amount(70)), TimeAdvanced(time_ms=1)),
        "custody of BTC",
        "70 BTC are in custody and 100 are owed; nothing was said",
    ),
    case(
        "the ledger is credited out of nothing",
        "CUST-1",
        ARRIVED,
        told(
            AdvanceTime(time_ms=1),
            entry(CauseKind.PROMOTION, "g", (OUTSIDE, FREE, -7), ("bob", FREE, 7)),
        ),
        "custody of BTC",
        "100 BTC are in custody and 107 are owed; nothing was said",
    ),
    case(
        "a tier shows more than it has",
        "CUST-1",
        ARRIVED,
        view(tiers={"hot": 101}, balances={("alice", FREE): 100, (OUTSIDE, FREE): -100}),
        "tier hot BTC",
        "101 BTC are shown",
    ),
    case(
        "a balance is not the sum of its entries",
        "CUST-1",
        ARRIVED,
        view(tiers={"hot": 100}, balances={("alice", FREE): 99, ("bob", FREE): 1, (OUTSIDE, FREE): -100}),
        "balance of alice BTC",
        "99 BTC are shown",
    ),
    # CUST-2
    case(
        "credited before it is final",
        "CUST-2",
        [block(1)],
        seen(more=(*final(), *credited())),
        "deposit t1 of BTC",
        "called final while it is in block 1 of 1",
    ),
    case(
        "credited though its block is gone",
        "CUST-2",
        [block(1), seen(), reorganised(1, DepositOrphaned(asset="BTC", transaction="t1"))],
        block(4, *final(), *credited()),
        "deposit t1 of BTC",
        "called final while it is in no block",
    ),
    case(
        "credited a second time",
        "CUST-2",
        [*ARRIVED, DEEP, block(2), seen(height=2)],
        block(3, *credited(), *mismatch(100, 0, halts=False)),
        "deposit t1 of BTC",
        "credited a second time",
    ),
    case(
        "credited with another amount",
        "CUST-2",
        [block(1), seen()],
        block(2, *final(amount=1_000), *credited(amount=1_000)),
        "deposit t1 of BTC",
        "1000 to alice",
    ),
    case(
        "credited to somebody else",
        "CUST-2",
        [block(1), seen()],
        block(2, *final(), *credited(client="bob")),
        "deposit t1 of BTC",
        "100 to bob",
    ),
    case(
        "credited without a report",
        "CUST-2",
        [block(1)],
        block(2, *final("t9"), *credited("t9")),
        "deposit t9 of BTC",
        "called final",
    ),
    case(
        "not credited when it is final",
        "CUST-2",
        [block(1), seen()],
        block(2),
        "deposit t1 of BTC",
        "it is final, and was not credited",
    ),
    case(
        "not credited when deposits are open again",
        "CUST-2",
        [block(1), seen(), suspend("deposits"), block(2, *final())],
        suspend(),
        "deposit t1 of BTC",
        "it is final, and was not credited",
    ),
    # CUST-3
    case(
        "refunded after it was signed",
        "CUST-3",
        ALL_SIGNED,
        told(REFUND, *BACK),
        "withdrawal alice/w",
        "refunded while its payment is signed",
    ),
    case(
        "refunded because its transaction id changed",
        "CUST-3",
        [*SENT, included(2, "changed")],
        told(REFUND, *BACK),
        "withdrawal alice/w",
        "refunded while its payment is included",
    ),
    case(
        "refunded as another asset",
        "CUST-3",
        REQUESTED,
        told(REFUND, WithdrawalRefunded(**(WITHDRAWAL | {"asset": "USD"}))),
        "withdrawal alice/w",
        "refunded with 40 USD",
    ),
    case(
        "refunded after it was paid",
        "CUST-3",
        ENDED,
        told(REFUND, *BACK),
        "withdrawal alice/w",
        "refunded",
    ),
    case(
        "paid before its chain made it final",
        "CUST-3",
        INCLUDED,
        told(AdvanceTime(time_ms=1), *PAID),
        "withdrawal alice/w",
        "paid while its payment is in block 2",
    ),
    case(
        "paid without a broadcast",
        "CUST-3",
        REQUESTED,
        block(3, *PAID),
        "withdrawal alice/w",
        "paid while its payment was never broadcast",
    ),
    case(
        "paid though nobody asked",
        "CUST-3",
        ARRIVED,
        block(3, *PAID),
        "withdrawal alice/w",
        "paid",
    ),
    case(
        "broadcast again under another transaction id",
        "CUST-3",
        [*SENT, included(2, "changed")],
        broadcast(name="x2"),
        "withdrawal alice/w",
        "broadcast again as x2",
    ),
    case(
        "approved with another destination",
        "CUST-3",
        REQUESTED,
        approved(replace(INTENT, destination="mallory")),
        "withdrawal alice/w",
        "40 BTC and 3 as fee from hot to mallory",
    ),
    case(
        "approved after it was refunded",
        "CUST-3",
        [*REQUESTED, told(REFUND, *BACK)],
        approved(),
        "withdrawal alice/w",
        "40 BTC and 3 as fee from hot to home",
    ),
    case(
        "included without a broadcast",
        "CUST-3",
        ALL_SIGNED,
        included(2),
        "withdrawal alice/w",
        "included as x1",
    ),
    case(
        "final on its chain and not paid",
        "CUST-3",
        INCLUDED,
        block(3),
        "withdrawal alice/w",
        "it is broadcast, and its payment is final",
    ),
    # CUST-4
    case(
        "signed with a share too few",
        "CUST-4",
        SIGNING,
        share("h1", SIGNED),
        "payment alice/w",
        "valid shares of h1",
    ),
    case(
        "broadcast without a signature",
        "CUST-4",
        APPROVED,
        broadcast(),
        "payment alice/w",
        "valid shares of nobody",
    ),
    case(
        "the shares of one signer count twice",
        "CUST-4",
        ONE_SHARE,
        share("h1", SIGNED),
        "payment alice/w",
        "valid shares of h1",
    ),
    case(
        "a forged share",
        "CUST-4",
        ONE_SHARE,
        share("h2", said="ab" * 32),
        "payment alice/w",
        "a forged share of h2",
    ),
    case(
        "a share of a signer who was not asked",
        "CUST-4",
        ONE_SHARE,
        share("h3", said="ab" * 32),
        "payment alice/w",
        "a share of h3",
    ),
    case(
        "a share that no signer gave",
        "CUST-4",
        ONE_SHARE,
        told(
            AdvanceTime(time_ms=1),
            ShareReceived(payment="alice/w", attempt=1, signer="h2", share=SHARES["h2"]),
        ),
        "payment alice/w",
        "a share of h2",
    ),
    case(
        "a share for what was not approved",
        "CUST-4",
        REQUESTED,
        share("h1"),
        "payment alice/w",
        "a share of h1",
    ),
    case(
        "another amount is broadcast",
        "CUST-4",
        ALL_SIGNED,
        broadcast(OTHER),
        "payment alice/w",
        "41 BTC and 3 as fee from hot to home",
    ),
    case(
        "another signature is broadcast",
        "CUST-4",
        ALL_SIGNED,
        broadcast(signature="ab" * 64),
        "payment alice/w",
        "signature abab",
    ),
    case(
        "what was not approved is broadcast",
        "CUST-4",
        REQUESTED,
        broadcast(),
        "payment alice/w",
        "broadcast",
    ),
    # CUST-5
    case(
        "a commitment is taken in again after a restart of the signing",
        "CUST-5",
        [*SIGNING, told(RestartSigning(payment="alice/w"), SigningRestarted(payment="alice/w", attempt=2))],
        commit("h1", 1, attempt=2),
        "nonce h1 0000000000000001",
        "taken in again",
    ),
    case(
        "a nonce is committed to for another payment",
        "CUST-5",
        [*SIGNING, sweep()],
        commit("h1", 1, intent=SWEEP),
        "nonce h1 0000000000000001",
        "taken in again, for payment @sweep/s",
    ),
    case(
        "a second share for one commitment",
        "CUST-5",
        ONE_SHARE,
        share("h1", said="ab" * 32),
        f"nonce {commitment('h1')}",
        "used for a share again",
    ),
    # CUST-6
    case(
        "more than the tier's limit",
        "CUST-6",
        [*ARRIVED, requested(60)],
        approved(replace(INTENT, amount=Amount(60))),
        "limit of alice/w",
        "60 BTC and 3 as fee from hot to home",
    ),
    case(
        "out of a tier that is not the first to allow it",
        "CUST-6",
        REQUESTED,
        approved(replace(INTENT, tier="cold"), 1_000),
        "tier of alice/w",
        "out of cold",
    ),
    case(
        "out of no tier",
        "CUST-6",
        REQUESTED,
        approved(replace(INTENT, tier="warm")),
        "tier of alice/w",
        "out of warm",
    ),
    case(
        "more than is there",
        "CUST-6",
        APPROVED,
        approved(replace(INTENT, payment="alice/v", amount=Amount(50), fee=Amount(8))),
        "funds of alice/v",
        "50 BTC and 8 as fee from hot to home",
    ),
    case(
        "approved without its delay",
        "CUST-6",
        [*ARRIVED, requested(60)],
        approved(replace(INTENT, amount=Amount(60), tier="cold"), 0),
        "lock of alice/w",
        "not before 0 ms",
    ),
    case(
        "broadcast before its delay is over",
        "CUST-6",
        [*SWEPT, sweep(UP, asked=SWEEP_UP, not_before=1_000)],
        broadcast(UP, name="x3"),
        "lock of @sweep/up",
        "broadcast at 0 ms",
    ),
    case(
        "approved while withdrawals are suspended",
        "CUST-6",
        [*REQUESTED, suspend("withdrawals")],
        approved(),
        "asset of alice/w",
        "40 BTC and 3 as fee from hot to home",
    ),
    case(
        "broadcast while withdrawals are suspended",
        "CUST-6",
        [*ALL_SIGNED, suspend("withdrawals")],
        broadcast(),
        "asset of alice/w",
        "40 BTC and 3 as fee from hot to home",
    ),
    case(
        "credited while deposits are suspended",
        "CUST-6",
        [block(1), seen(), suspend("deposits")],
        block(2, *final(), *credited()),
        "asset of t1",
        "credited",
    ),
    case(
        "a sweep that nobody asked for",
        "CUST-6",
        NETWORKED,
        told(AdvanceTime(time_ms=1), PaymentApproved(intent=SWEEP, not_before_ms=0)),
        "sweep @sweep/s",
        "20 BTC and 3 as fee from hot to @tier/cold",
    ),
    case(
        "a sweep of more than was asked for",
        "CUST-6",
        NETWORKED,
        sweep(replace(SWEEP, amount=Amount(21))),
        "sweep @sweep/s",
        "21 BTC and 3 as fee from hot to @tier/cold",
    ),
    case(
        "a sweep that overfills its target",
        "CUST-6",
        [*NETWORKED, seen("t2", 200, 2), block(3, *final("t2", 200), *credited("t2", 200))],
        sweep(
            replace(SWEEP, destination="@tier/hot"),
            asked=replace(SWEPT_FUNDS, target="hot"),
        ),
        "limit of @sweep/s",
        "it brings hot to 350 BTC",
    ),
    case(
        "a sweep that overfills its target together with one under way",
        "CUST-6",
        [*NETWORKED, sweep(INTO_HOT, asked=replace(SWEPT_FUNDS, target="hot"))],
        sweep(
            replace(INTO_HOT, payment="@sweep/more"),
            asked=replace(SWEPT_FUNDS, sweep="more", target="hot"),
        ),
        "limit of @sweep/more",
        "it brings hot to 170 BTC",
    ),
    case(
        "a sweep that completes before it is final",
        "CUST-6",
        SWEEPING,
        told(AdvanceTime(time_ms=1), *completed()),
        "sweep @sweep/s",
        "completed",
    ),
    case(
        "a sweep that completes with another amount",
        "CUST-6",
        SWEEPING,
        block(3, *completed(amount=Amount(21))),
        "sweep @sweep/s",
        "21 BTC from hot to cold",
    ),
    case(
        "a tree that leaves a client out",
        "CUST-6",
        [
            block(1),
            seen(),
            seen("t2", 10, client="bob"),
            block(2, *final(), *credited(), *final("t2", 10, "bob"), *credited("t2", 10, "bob")),
        ],
        published(alice=100),
        "liabilities in BTC",
        "100 of 2 clients",
    ),
    case(
        "liabilities that were not published are shown",
        "CUST-6",
        ARRIVED,
        view(
            tiers={"hot": 100},
            balances={},
            liabilities=(Liabilities(asset="BTC", root="ab" * 32, total=Amount(1), seq=1),),
        ),
        "liabilities shown in BTC",
        "('abab",
    ),
    # The older ones
    case(
        "a deposit arrives without an entry",
        "CONS-4",
        [block(1), seen()],
        block(2, final()[0], *credited()),
        "arrival without an entry",
        "no entry",
    ),
    case(
        "a withdrawal is paid without its fee",
        "CONS-4",
        INCLUDED,
        block(3, PAID[0], entry(CauseKind.WITHDRAWAL_PAYMENT, "alice/w", ("alice", HELD, -40), (OUTSIDE, FREE, 40))),
        "entry withdrawal_payment alice/w",
        "@outside free BTC +40",
    ),
    case(
        "a sweep's fee is taken from a client",
        "CONS-4",
        SWEEPING,
        block(3, completed()[0], entry(CauseKind.NETWORK_FEE, "@sweep/s", ("alice", FREE, -3), (OUTSIDE, FREE, 3))),
        "entry network_fee @sweep/s",
        "@outside free BTC +3",
    ),
    case(
        "a withdrawal is approved twice",
        "FINAL-4",
        APPROVED,
        approved(),
        "payment alice/w",
        "approved a second time",
    ),
    case(
        "a shortfall is covered twice by one transaction",
        "FINAL-4",
        [*ARRIVED, DEEP, cover(40)],
        cover(40),
        "cover c",
        "taken a second time",
    ),
    case(
        "a pending deposit is gone",
        "FINAL-2",
        [block(1), seen()],
        view(tiers={}, balances={}),
        "deposit BTC/t1",
        "it is not shown",
    ),
    case(
        "a payment is gone",
        "FINAL-2",
        APPROVED,
        view(tiers={"hot": 100}, balances={}),
        "payment alice/w",
        "it is not shown",
    ),
    case(
        "a chain is shown further than it was told",
        "FINAL-2",
        ARRIVED,
        view(tiers={"hot": 100}, balances={}, chains=(replace(CHAINS[0], height=9), CHAINS[1])),
        "chain of BTC",
        "9 True True True",
    ),
]


@pytest.mark.parametrize("wrong", CASES)
def test_a_violation_in_custody_is_reported_at_the_step_that_causes_it(wrong: Case) -> None:
    auditor = Auditor(SETUP, catalogue=(invariant_by_id(wrong.invariant),))
    for record in wrong.good:
        assert auditor.watch(record) == []
    new = auditor.watch(wrong.bad)
    about = [violation for violation in new if violation.subject == wrong.subject]
    assert [(found.invariant, found.step) for found in about] == [(wrong.invariant, len(wrong.good))], new
    assert about[0].found.startswith(wrong.found)
    assert about[0].expected not in ("", about[0].found)


HISTORIES = HOLDING | {str(row.id): [*row.values[0].good, row.values[0].bad] for row in CASES}


@pytest.mark.parametrize("name", HISTORIES)
def test_the_slow_forms_find_the_same_in_custody(name: str) -> None:
    assert_both_find_the_same(SETUP, HISTORIES[name], (invariant_by_id("CONS-4"), *CUST))


@pytest.mark.parametrize("entry_of", CUST, ids=[item.id for item in CUST])
def test_an_exchange_without_custody_breaks_nothing_here(entry_of: Any) -> None:  # noqa: ANN401 - an entry
    auditor = Auditor(Setup(assets=SETUP.assets, markets=(), clients=SETUP.clients), catalogue=(entry_of,))
    assert auditor.told.custody is None
    for record in [*ENDED, *SWEEPING, published(alice=1)]:
        assert auditor.watch(record) == []
    assert auditor.coverage()[0].checked == 0


def test_with_frost_the_signature_must_be_the_groups_over_the_very_intent() -> None:
    key = SigningKey(bytes(32))
    hot = replace(
        HOT, scheme=Scheme.FROST, group_key=key.verify_key.encode().hex(), verifying_shares=("00" * 32,) * 3
    )
    assert SETUP.custody is not None
    setup = replace(SETUP, custody=replace(SETUP.custody, tiers=(hot, COLD)))

    def findings(signature: bytes) -> list[tuple[str, int]]:
        auditor = Auditor(setup, catalogue=(invariant_by_id("CUST-4"),))
        signed = PaymentSigned(payment="alice/w", signature=signature.hex())
        for record in [*ONE_SHARE, share("h2", signed), broadcast(signature=signature.hex())]:
            auditor.watch(record)
        return [(violation.subject, violation.step) for violation in auditor.violations]

    assert findings(key.sign(message_of(INTENT)).signature) == []
    last = len(ONE_SHARE)
    assert findings(key.sign(message_of(OTHER)).signature) == [("payment alice/w", last)]
    assert findings(SigningKey(b"1" * 32).sign(message_of(INTENT)).signature) == [("payment alice/w", last)]
