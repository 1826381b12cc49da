"""The published phase rules: which commands may take effect in which phase, and which phase may follow which.

An exchange and the invariant PHASE-1 both read this one table; it is a declaration, not a computation.
"""

from collections.abc import Mapping

from holdfast_model.vocabulary.commands import (
    AmendOrder,
    CancelOrder,
    Command,
    CreditDeposit,
    PauseStandby,
    PayWithdrawal,
    Phase,
    PlaceOrder,
    PromoteStandby,
    RefundWithdrawal,
    RequestWithdrawal,
    ResumeStandby,
    SetPhase,
)

_OPERATOR: frozenset[type] = frozenset({SetPhase, PauseStandby, ResumeStandby, PromoteStandby})
_FUNDS: frozenset[type] = frozenset({CreditDeposit, RequestWithdrawal, PayWithdrawal, RefundWithdrawal})

LEGAL_COMMANDS: Mapping[Phase, frozenset[type]] = {
    Phase.OPEN: _OPERATOR | _FUNDS | {PlaceOrder, CancelOrder, AmendOrder},
    Phase.POST_ONLY: _OPERATOR | _FUNDS | {PlaceOrder, CancelOrder, AmendOrder},
    Phase.CANCEL_ONLY: _OPERATOR | _FUNDS | {CancelOrder},
    Phase.HALTED: _OPERATOR | {CreditDeposit},
    Phase.MAINTENANCE: _OPERATOR,
}

LEGAL_TRANSITIONS: Mapping[Phase, frozenset[Phase]] = {
    Phase.OPEN: frozenset({Phase.CANCEL_ONLY, Phase.HALTED}),
    Phase.POST_ONLY: frozenset({Phase.OPEN, Phase.CANCEL_ONLY, Phase.HALTED}),
    Phase.CANCEL_ONLY: frozenset({Phase.MAINTENANCE, Phase.POST_ONLY, Phase.HALTED}),
    Phase.HALTED: frozenset({Phase.CANCEL_ONLY}),
    Phase.MAINTENANCE: frozenset({Phase.POST_ONLY, Phase.CANCEL_ONLY}),
}


def legal(phase: Phase, command: Command) -> bool:
    """Whether the command may take effect in the phase; in POST_ONLY a new order must itself be post-only."""
    if type(command) not in LEGAL_COMMANDS[phase]:
        return False
    return not (phase is Phase.POST_ONLY and isinstance(command, PlaceOrder) and not command.post_only)
