"""A planted fault of the exchange makes the link fail, in the direction that can see it; and where, is told."""

import pytest

from holdfast.engine import LocalEngine
from holdfast.linking.checking import LINKED, Linked, Work, check_link
from holdfast_engine.exchange import Parts
from holdfast_engine.faults import fault_by_name
from holdfast_engine.venue import Venue
from holdfast_model.evidence import Verdict
from holdfast_model.findings import LinkCheck
from holdfast_model.vocabulary import Reason, RestartSigning

WALKS = Work(walks=16, walk_steps=30, histories=0, history_moves=0)
HISTORIES = Work(walks=0, walk_steps=0, histories=12, history_moves=30)

SEEN_BOTH_WAYS = {
    "trading": ("hold-released-twice", "balance-without-entry", "fee-from-nowhere"),
    "trading+phases+recovery": ("stale-snapshot-restore", "last-record-lost", "tail-replayed-twice"),
    "trading+maintenance": ("maintenance-loses-orders",),
    "margin": ("makers-position-unchanged", "transfer-credited-twice", "halt-spreads"),
    "margin+maintenance": ("positions-flipped-at-restore",),
    "custody": (
        "final-too-early",
        "deposit-in-another-unit",
        "refund-out-of-custody-in-another-asset",
        "share-too-few",
        "payment-broadcast-again",
        "mismatch-unnoticed",
    ),
    "custody+recovery": ("stale-snapshot-restore", "tail-replayed-twice"),
    "maintenance": ("last-record-lost",),
    "replication": ("epoch-not-raised", "catch-up-skips-the-gap"),
    "maintenance+replication": ("last-record-lost",),
    "surge": ("shed-command-has-effect", "ingress-unbounded", "shed-silently"),
}
"""By slice: what the exchange does wrong where the model does it right."""

SEEN_BY_WALKS = {
    "custody": ("signing-never-restarted",),
    "trading+phases+recovery": ("filled-order-reopened", "fill-forgotten"),
    "margin+maintenance": ("positions-flipped-in-maintenance",),
    "replication": ("deposed-primary-acknowledges",),
}
"""What a path has to come to first, and the model's paths come there more often."""

SEEN_BY_HISTORIES = {
    "trading": ("order-without-funds",),
    "trading+maintenance": ("maintenance-not-announced",),
    "margin": ("liquidated-above-maintenance",),
    "custody": ("backlog-applied-twice", "refund-of-signed-payment", "negative-balance-accepted"),
    "maintenance": ("announcement-serves-twice", "maintenance-left-unconfirmed"),
    "replication": (
        "stale-replica-promoted",
        "split-brain",
        "cut-off-primary-decides",
        "promoted-without-a-quorum",
        "acknowledged-before-the-quorum",
    ),
    "surge": ("cancels-starved",),
}
"""What the exchange does although it must refuse it: no path of the model asks for it."""


def linked(name: str) -> Linked:
    """The first link of a slice."""
    return next(each for each in LINKED if each.model.partition("slice=")[2].partition(",")[0] == name)


def pairs(table: dict[str, tuple[str, ...]]) -> list[tuple[str, str]]:
    return [(name, fault) for name, faults in table.items() for fault in faults]


def check(name: str, fault: str, work: Work) -> LinkCheck:
    parts = fault_by_name(fault).parts
    return check_link(linked(name), seed=1, work=work, engines=lambda: LocalEngine(parts=parts))


def is_seen(found: LinkCheck, kind: str) -> bool:
    difference = found.difference
    assert difference is not None, "the planted fault was not seen"
    assert found.origin.startswith(kind)
    assert (len(found.path), found.path[-1]) == (difference.step, difference.action)
    assert difference.model != difference.engine
    return found.verdict is Verdict.VIOLATED


@pytest.mark.parametrize(("name", "fault"), pairs(SEEN_BOTH_WAYS) + pairs(SEEN_BY_WALKS))
def test_the_exchange_does_not_follow_a_walk(name: str, fault: str) -> None:
    assert is_seen(check(name, fault, WALKS), "walk")


@pytest.mark.parametrize(("name", "fault"), pairs(SEEN_BOTH_WAYS) + pairs(SEEN_BY_HISTORIES))
def test_no_path_of_the_model_explains_a_history(name: str, fault: str) -> None:
    assert is_seen(check(name, fault, HISTORIES), "history")


@pytest.mark.parametrize("name", ["custody", "custody+recovery"])
def test_an_exchange_that_gives_up_no_attempt_that_nobody_has_begun_is_not_followed(name: str) -> None:
    class RefusesUnbegun(Venue):
        def _decide_signing_restart(self, command: RestartSigning) -> None:
            payment = self.payments.get(command.payment)
            if payment is not None and not payment.commitments:
                return self.refuse(Reason.PAYMENT_NOT_OPEN)
            return super()._decide_signing_restart(command)

    parts = Parts(venue=RefusesUnbegun)
    found = check_link(linked(name), seed=1, work=WALKS, engines=lambda: LocalEngine(parts=parts))
    assert is_seen(found, "walk")
    assert found.path[-1] == "restart_signing(w1)"


def test_an_exchange_that_fails_is_a_difference_and_no_error_of_the_check() -> None:
    class Broken(LocalEngine):
        def snapshot(self) -> None:
            with self._failing("snapshot"):
                raise RuntimeError("the disk is full")

    parts = fault_by_name("price-band-ignored").parts
    found = check_link(linked("maintenance"), seed=1, work=WALKS, engines=lambda: Broken(parts=parts))
    assert found.difference is not None
    assert found.difference.variable == "the exchange"
    assert "the disk is full" in found.difference.engine
