"""The parts of the exchange and their links."""

from holdfast.linking.custody import CustodyLink
from holdfast.linking.ledger import FundsLink, LedgerLink
from holdfast.linking.margin import MarginLink
from holdfast.linking.operations import MaintenanceLink, PhasesLink, RebuiltLink, RecoveryLink
from holdfast.linking.replication import ReplicationLink
from holdfast.linking.rules import ActionRule, Subject
from holdfast.linking.surge import SurgeLink
from holdfast.linking.trading import TradingLink
from holdfast_model.spec.model import Model

SUBJECTS: tuple[Subject, ...] = (
    LedgerLink(),
    FundsLink(),
    TradingLink(),
    MarginLink(),
    CustodyLink(),
    PhasesLink(),
    RecoveryLink(),
    MaintenanceLink(),
    ReplicationLink(),
    RebuiltLink(),
    SurgeLink(),
)


def subjects_of(model: Model) -> tuple[Subject, ...]:
    """The links of a model's parts; none where it is no slice of the exchange."""
    return tuple(subject for subject in SUBJECTS if isinstance(model.spec, subject.part))


def rule_of(model: Model, action: str) -> ActionRule:
    """How an action of a model is carried out: the rule of the last part that has one."""
    rules = [rule for subject in subjects_of(model) for rule in subject.actions if rule.action == action]
    assert rules, f"no part says how {action} is carried out"
    return rules[-1]
