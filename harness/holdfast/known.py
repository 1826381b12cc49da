"""What a generator knows beyond orders and balances: prices, positions, stages, and why it was refused last."""

from holdfast_invariants.told import OrderKey
from holdfast_model.vocabulary import (
    SPOT,
    ClientId,
    Event,
    FundingSettled,
    InterestAccrued,
    MarkChanged,
    MarketId,
    OrderAccepted,
    OrderCancelled,
    OrderFilled,
    PositionChanged,
    PriceTicks,
    ProductHalted,
    ProductId,
    ProductResumed,
    Reason,
    Record,
    Rejected,
    Setup,
    SizeLots,
    Stage,
    StopArmed,
    StopTriggered,
    TimeAdvanced,
    Timestamp,
    TradeExecuted,
)


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

    def hear(self, record: Record) -> None:
        """Take note of what was answered to a step, or told again after it."""
        for resent in record.resent:
            self._believe(resent.events)
        for answer in sorted(record.answers, key=lambda answer: (answer.seq is None, answer.seq or 0)):
            self.refusal = None
            self._believe(answer.events)

    def _believe(self, events: tuple[Event, ...]) -> None:
        for event in events:
            self._take(event)

    def _take(self, event: Event) -> None:
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
            case OrderAccepted() | StopArmed() | StopTriggered() | OrderCancelled() | OrderFilled():
                self._order(event)
            case ProductHalted():
                self.stages[event.product] = Stage.HALTED
            case ProductResumed():
                self.stages[event.product] = event.stage
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
