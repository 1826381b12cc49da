"""What a generator knows beyond orders and balances: prices, positions, stages, and why it was refused last."""

from typing import Any

from holdfast.setups import frost_test_keys
from holdfast.signing_parties import SigningParties
from holdfast_invariants.told import OrderKey
from holdfast_model.vocabulary import (
    SPOT,
    ClientId,
    CommitNonce,
    EntryPosted,
    Event,
    FundingSettled,
    InterestAccrued,
    MarkChanged,
    MarketId,
    NonceCommitted,
    OrderAccepted,
    OrderCancelled,
    OrderFilled,
    OrderRested,
    PositionChanged,
    PriceTicks,
    ProductHalted,
    ProductId,
    ProductResumed,
    Reason,
    Record,
    Rejected,
    Scheme,
    Setup,
    SizeLots,
    Stage,
    StopArmed,
    StopTriggered,
    TimeAdvanced,
    Timestamp,
    TradeExecuted,
)

COMMITMENTS_KEPT = 30
_OF_ORDERS = frozenset({OrderAccepted, StopArmed, StopTriggered, OrderCancelled, OrderFilled})


def _parties(setup: Setup) -> SigningParties | None:
    """The signers of a setup with custody; those of FROST tiers have the test keys."""
    custody = setup.custody
    if custody is None:
        return None
    frost = any(tier.scheme is Scheme.FROST for tier in custody.tiers)
    return SigningParties(setup, frost_test_keys(custody) if frost else None)


class Known:
    """Folded from answers alone, as a client and an operator hear them."""

    def __init__(self, setup: Setup) -> None:
        self.time_ms: Timestamp = 0
        self.marks: dict[MarketId, PriceTicks | None] = {}
        self.last: dict[MarketId, PriceTicks] = {}
        self.positions: dict[tuple[ClientId, MarketId], SizeLots] = {}
        self.stops: dict[OrderKey, OrderAccepted] = {}
        self.watched: dict[OrderKey, None] = {}
        """Open orders that are cancelled when their client's session is lost."""
        self.stages: dict[ProductId, Stage] = {
            SPOT: Stage.OPEN,
            **{product.product: Stage.OPEN for product in setup.products},
        }
        self.periods: dict[str, int] = {}
        """The last period of interest by asset, of funding by market."""
        self.refusal: Reason | None = None
        """Why the last command that was answered was refused, if it was."""
        self._accepted: OrderAccepted | None = None
        self.parties = _parties(setup)
        """The signers of custody, who hear what the exchange tells."""
        self.commitments: list[CommitNonce] = []
        """What signers committed to last and the exchange took in."""

    def hear(self, record: Record) -> None:
        """Take note of what was answered to a step, or told again after it."""
        for resent in record.resent:
            self._believe(resent.events)
        answers = record.answers
        if len(answers) > 1:
            answers = tuple(sorted(answers, key=lambda answer: (answer.seq is None, answer.seq or 0)))
        for answer in answers:
            self.refusal = None
            self._believe(answer.events)

    def _believe(self, events: tuple[Event, ...]) -> None:
        if self.parties is not None:
            self.parties.hear(events)
        for event in events:
            self._take(event)

    def _take(self, event: Any) -> None:  # noqa: ANN401 - any of several events, told apart by class
        kind = event.__class__
        if kind is EntryPosted or kind is OrderRested:
            return  # the many that change nothing here
        if kind in _OF_ORDERS:
            self._order(event)
            return
        match event:
            case Rejected():
                self.refusal = event.reason
            case TimeAdvanced():
                self.time_ms = event.time_ms
            case MarkChanged():
                self.marks[event.market] = event.mark_ticks
            case TradeExecuted():
                self.last[event.market] = event.price_ticks
            case PositionChanged():
                self.positions[event.client, event.market] = event.position_lots
            case ProductHalted():
                self.stages[event.product] = Stage.HALTED
            case ProductResumed():
                self.stages[event.product] = event.stage
            case NonceCommitted():
                said = CommitNonce(payment=event.payment, signer=event.signer, commitment=event.commitment)
                self.commitments = [*self.commitments[1 - COMMITMENTS_KEPT :], said]
            case FundingSettled():
                self.periods[event.market] = event.period
            case InterestAccrued():
                self.periods[event.asset] = event.period
            case _:
                pass

    def _order(self, event: OrderAccepted | StopArmed | StopTriggered | OrderCancelled | OrderFilled) -> None:
        match event:
            case OrderAccepted():
                self._accepted = event
                if event.conditions is not None and event.conditions.cancel_on_disconnect:
                    self.watched[event.client, event.order] = None
            case StopArmed():
                if self._accepted is not None:
                    self.stops[event.client, event.order] = self._accepted
            case StopTriggered():
                self.stops.pop((event.client, event.order), None)
            case OrderCancelled() | OrderFilled():
                self.stops.pop((event.client, event.order), None)
                self.watched.pop((event.client, event.order), None)
