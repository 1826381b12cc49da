"""The published phase rules: which commands may take effect in which phase, and which phase may follow which.

An exchange and the invariants PHASE-1 and PHASE-2 read these tables; they are declarations, not computations.
"""

from collections.abc import Mapping

from holdfast_model.vocabulary.commands import (
    AccrueInterest,
    AdvanceTime,
    AmendOrder,
    Borrow,
    CancelAll,
    CancelOrder,
    Command,
    CreditDeposit,
    DisconnectClient,
    FundHouse,
    GrantPromotion,
    HaltProduct,
    Liquidate,
    PayWithdrawal,
    Phase,
    PlaceOrder,
    RefundWithdrawal,
    Repay,
    ReportPrice,
    RequestWithdrawal,
    ResumeStage,
    SetPhase,
    SettleFunding,
    Stage,
    TransferMargin,
)
from holdfast_model.vocabulary.custody import (
    ApproveWithdrawal,
    AttestCustody,
    BroadcastPayment,
    CommitNonce,
    CoverShortfall,
    PublishLiabilities,
    Reconcile,
    ReportBlock,
    ReportDeposit,
    ReportPayment,
    ReportReorganisation,
    RestartSigning,
    SetProvider,
    SubmitShare,
    SuspendAsset,
    SweepFunds,
)
from holdfast_model.vocabulary.operations import (
    ActivateRelease,
    AnnounceMaintenance,
    CancelAllOrders,
    ConfirmLoad,
    DeployRelease,
    HealReplica,
    KillReplica,
    PartitionReplica,
    PauseReplica,
    PromoteReplica,
    ReadAccount,
    ResumeReplica,
    StartReplica,
)

_OPERATOR: frozenset[type] = frozenset(
    {
        SetPhase,
        AdvanceTime,
        ReportPrice,
        HaltProduct,
        ResumeStage,
        PauseReplica,
        ResumeReplica,
        PartitionReplica,
        HealReplica,
        KillReplica,
        StartReplica,
        PromoteReplica,
        AnnounceMaintenance,
        ConfirmLoad,
        ReadAccount,
        SetProvider,
        Reconcile,
        PublishLiabilities,
    }
)
# Opening deposits credits those that wait, and so has no place in maintenance.
_CHAIN: frozenset[type] = frozenset(
    {ReportDeposit, ReportBlock, ReportReorganisation, ReportPayment, AttestCustody, CoverShortfall, SuspendAsset}
)
_FUNDS: frozenset[type] = frozenset(
    {
        ApproveWithdrawal,
        SweepFunds,
        CommitNonce,
        SubmitShare,
        RestartSigning,
        BroadcastPayment,
        CreditDeposit,
        RequestWithdrawal,
        PayWithdrawal,
        RefundWithdrawal,
        FundHouse,
        GrantPromotion,
    }
)
_ACCOUNTS: frozenset[type] = frozenset({TransferMargin, Borrow, Repay})
_CANCELS: frozenset[type] = frozenset({CancelOrder, CancelAll, CancelAllOrders, DisconnectClient})
_ORDERS: frozenset[type] = _CANCELS | {PlaceOrder, AmendOrder}
_RISK: frozenset[type] = frozenset({AccrueInterest, SettleFunding, Liquidate})

LEGAL_COMMANDS: Mapping[Phase, frozenset[type]] = {
    Phase.CLOSED: _OPERATOR | _CHAIN | _FUNDS | _CANCELS,
    Phase.AUCTION: _OPERATOR | _CHAIN | _FUNDS | _ORDERS - {AmendOrder},
    Phase.OPEN: _OPERATOR | _CHAIN | _FUNDS | _ACCOUNTS | _ORDERS | _RISK,
    Phase.POST_ONLY: _OPERATOR | _CHAIN | _FUNDS | _ACCOUNTS | _ORDERS,
    Phase.CANCEL_ONLY: _OPERATOR | _CHAIN | _FUNDS | _CANCELS,
    Phase.HALTED: _OPERATOR | _CHAIN | {CreditDeposit, FundHouse, DisconnectClient},
    Phase.MAINTENANCE: _OPERATOR | {DeployRelease, ActivateRelease},
}
"""Nobody is liquidated, charged or lent to but in the open phase, in which everybody can act."""

LEGAL_TRANSITIONS: Mapping[Phase, frozenset[Phase]] = {
    Phase.CLOSED: frozenset({Phase.AUCTION, Phase.CANCEL_ONLY, Phase.HALTED}),
    Phase.AUCTION: frozenset({Phase.OPEN, Phase.CLOSED, Phase.CANCEL_ONLY, Phase.HALTED}),
    Phase.OPEN: frozenset({Phase.AUCTION, Phase.CANCEL_ONLY, Phase.HALTED}),
    Phase.POST_ONLY: frozenset({Phase.AUCTION, Phase.OPEN, Phase.CANCEL_ONLY, Phase.HALTED}),
    Phase.CANCEL_ONLY: frozenset({Phase.AUCTION, Phase.MAINTENANCE, Phase.POST_ONLY, Phase.HALTED}),
    Phase.HALTED: frozenset({Phase.CANCEL_ONLY}),
    Phase.MAINTENANCE: frozenset({Phase.POST_ONLY, Phase.CANCEL_ONLY, Phase.HALTED}),
}
"""A mismatch between ledger and custody halts the exchange in whatever phase it is found, in maintenance too.

Where trading opens through an auction (`Setup.auctions`), POST_ONLY is not followed by OPEN.

An auction that is left for OPEN or CLOSED is uncrossed; one that is left for HALTED or CANCEL_ONLY is called off: its
orders stay, and because they may cross, the next phase that may follow CANCEL_ONLY is then AUCTION or MAINTENANCE.
"""

STAGE_COMMANDS: Mapping[Stage, frozenset[type]] = {
    Stage.HALTED: frozenset(),
    Stage.CANCEL_ONLY: _CANCELS,
    Stage.POST_ONLY: _ORDERS,
    Stage.OPEN: _ORDERS | {Liquidate, SettleFunding},
}
"""What may be done in a product at a stage; transfers into a halted product wait until it is OPEN."""

STAGE_TRANSITIONS: Mapping[Stage, Stage] = {
    Stage.HALTED: Stage.CANCEL_ONLY,
    Stage.CANCEL_ONLY: Stage.POST_ONLY,
    Stage.POST_ONLY: Stage.OPEN,
}


def legal(phase: Phase, command: Command) -> bool:
    """Whether the command may take effect in the phase; in POST_ONLY a new order must itself be post-only."""
    if command.__class__ not in LEGAL_COMMANDS[phase]:
        return False
    return phase is not Phase.POST_ONLY or command.__class__ is not PlaceOrder or command.post_only


def may_follow(before: Phase, after: Phase, *, auctions: bool) -> bool:
    """Whether a phase may follow another; with `auctions` trading is opened by an auction only."""
    if auctions and before is Phase.POST_ONLY and after is Phase.OPEN:
        return False
    return after in LEGAL_TRANSITIONS[before]
