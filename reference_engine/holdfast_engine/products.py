"""Products: groups of markets that are halted for their protection and opened again stage by stage."""

from holdfast_engine.core import Deciders, Evolvers, Fields
from holdfast_engine.marks import Marks
from holdfast_engine.state import VenueState
from holdfast_model.vocabulary import (
    SPOT,
    STAGE_COMMANDS,
    STAGE_TRANSITIONS,
    Command,
    HaltProduct,
    MarketId,
    PlaceOrder,
    ProductHalted,
    ProductId,
    ProductResumed,
    ProductStage,
    Reason,
    ResumeStage,
    Setup,
    Stage,
)


class Products(Marks):
    """The stage of each product. A halt keeps orders, positions and transfers as they are."""

    __slots__ = ("restricted", "stages")

    def __init__(self, setup: Setup) -> None:
        super().__init__(setup)
        self.stages: dict[ProductId, Stage] = {
            SPOT: Stage.OPEN,
            **{product.product: Stage.OPEN for product in self.setup.products},
        }
        self.restricted: frozenset[ProductId] = frozenset()

    @classmethod
    def _deciders(cls, setup: Setup) -> Deciders:
        more: Deciders = {HaltProduct: cls._decide_halt, ResumeStage: cls._decide_resume_stage}
        return super()._deciders(setup) | more

    @classmethod
    def _evolvers(cls, setup: Setup) -> Evolvers:
        more: Evolvers = {ProductHalted: cls._on_product_halted, ProductResumed: cls._on_product_resumed}
        return super()._evolvers(setup) | more

    def stage_allows(self, market: MarketId, command: Command) -> bool:
        """Whether the stage of the market's product lets the command take effect."""
        stage = self.stages[self.markets[market].product]
        if stage is Stage.OPEN:
            return True
        if command.__class__ not in STAGE_COMMANDS[stage]:
            return False
        return not isinstance(command, PlaceOrder) or command.post_only

    def _decide_halt(self, command: HaltProduct) -> None:
        stage = self.stages.get(command.product)
        if stage is None:
            return self.refuse(Reason.UNKNOWN_PRODUCT)
        if stage is Stage.HALTED:
            return self.refuse(Reason.STAGE_ILLEGAL)
        return self.halt(command)

    def halt(self, command: HaltProduct) -> None:
        """Halt a product; nothing else changes."""
        self.emit(ProductHalted(product=command.product, cause=command.cause))

    def _decide_resume_stage(self, command: ResumeStage) -> None:
        stage = self.stages.get(command.product)
        if stage is None:
            return self.refuse(Reason.UNKNOWN_PRODUCT)
        if not self.stage_follows(stage, command.stage):
            return self.refuse(Reason.STAGE_ILLEGAL)
        if command.stage is Stage.OPEN and not self.marked(command.product):
            return self.refuse(Reason.MARK_UNAVAILABLE)
        self.emit(ProductResumed(product=command.product, stage=command.stage))
        if command.stage is Stage.OPEN:
            self.on_product_open(command.product)
        return None

    def stage_follows(self, before: Stage, after: Stage) -> bool:
        """Whether a product may go on from one stage to another: the next one."""
        return STAGE_TRANSITIONS.get(before) is after

    def marked(self, product: ProductId) -> bool:
        """Whether all perpetuals of a product have a mark."""
        return all(
            self.marks[market.market] is not None
            for market in self.setup.markets
            if market.product == product and market.perpetual is not None
        )

    def on_product_open(self, product: ProductId) -> None:
        """What follows once a product is open again: see the chapters that extend this."""

    def _on_product_halted(self, event: ProductHalted) -> None:
        self._set_stages({**self.stages, event.product: Stage.HALTED})

    def _on_product_resumed(self, event: ProductResumed) -> None:
        self._set_stages({**self.stages, event.product: event.stage})

    def _set_stages(self, stages: dict[ProductId, Stage]) -> None:
        self.stages = stages
        self.restricted = frozenset(product for product in stages if stages[product] is not Stage.OPEN)

    @classmethod
    def _fields(cls) -> Fields:
        return super()._fields() | {"stages": _stages}

    def load(self, state: VenueState) -> None:
        """Replace the state by a snapshot's."""
        super().load(state)
        self._set_stages({item.product: item.stage for item in state.stages})


def _stages(stages: dict[ProductId, Stage]) -> list[ProductStage]:
    return [ProductStage(product=product, stage=stages[product]) for product in sorted(stages)]
