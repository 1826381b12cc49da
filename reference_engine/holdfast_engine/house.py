"""The house's accounts: what the owner pays in, and promotions, which are paid out of what is there and bounded."""

from holdfast_engine.core import FREE, Core, Deciders, Evolvers, Fields
from holdfast_engine.state import VenueState
from holdfast_model.vocabulary import (
    FUNDED_ACCOUNTS,
    OUTSIDE,
    PROMOTIONS,
    AssetId,
    CauseKind,
    FundHouse,
    GrantId,
    GrantPromotion,
    HouseFunded,
    PromotionGranted,
    Reason,
    Setup,
    TransactionId,
)


class House(Core):
    """Funding of house accounts, and promotions."""

    def __init__(self, setup: Setup) -> None:
        super().__init__(setup)
        self.house_payments: dict[TransactionId, None] = {}
        self.grants: dict[GrantId, None] = {}
        self._promotion_max = {item.asset: item.amount for item in self.setup.promotion_max}

    @classmethod
    def _deciders(cls, setup: Setup) -> Deciders:
        more: Deciders = {FundHouse: cls._decide_house_payment, GrantPromotion: cls._decide_grant}
        return super()._deciders(setup) | more

    @classmethod
    def _evolvers(cls, setup: Setup) -> Evolvers:
        more: Evolvers = {HouseFunded: cls._on_house_funded, PromotionGranted: cls._on_promotion_granted}
        return super()._evolvers(setup) | more

    def _decide_house_payment(self, command: FundHouse) -> None:
        if command.account not in FUNDED_ACCOUNTS:
            return self.refuse(Reason.UNKNOWN_ACCOUNT)
        if command.asset not in self.assets:
            return self.refuse(Reason.UNKNOWN_ASSET)
        if command.amount <= 0:
            return self.refuse(Reason.AMOUNT_NOT_POSITIVE)
        if command.transaction in self.house_payments:
            return self.refuse(Reason.DUPLICATE_DEPOSIT)
        self.emit(
            HouseFunded(
                account=command.account,
                asset=command.asset,
                amount=command.amount,
                transaction=command.transaction,
            )
        )
        return self.post(
            CauseKind.HOUSE_FUNDING,
            command.transaction,
            [
                (OUTSIDE, FREE, command.asset, -command.amount),
                (command.account, FREE, command.asset, command.amount),
            ],
        )

    def _decide_grant(self, command: GrantPromotion) -> None:
        if command.client not in self.clients:
            return self.refuse(Reason.UNKNOWN_CLIENT)
        if command.asset not in self.assets:
            return self.refuse(Reason.UNKNOWN_ASSET)
        if command.amount <= 0:
            return self.refuse(Reason.AMOUNT_NOT_POSITIVE)
        if self.granted(command.grant):
            return self.refuse(Reason.DUPLICATE_REQUEST)
        if command.amount > self.grant_max(command.asset):
            return self.refuse(Reason.HOUSE_LIMIT)
        if not self.house_covers(command):
            return self.refuse(Reason.INSUFFICIENT_FUNDS)
        self.emit(
            PromotionGranted(client=command.client, asset=command.asset, amount=command.amount, grant=command.grant)
        )
        return self.post(
            CauseKind.PROMOTION,
            command.grant,
            [
                (PROMOTIONS, FREE, command.asset, -command.amount),
                (command.client, FREE, command.asset, command.amount),
            ],
        )

    def granted(self, grant: GrantId) -> bool:
        """Whether a promotion of this id was granted before."""
        return grant in self.grants

    def grant_max(self, asset: AssetId) -> int:
        """The most that one promotion may grant of an asset."""
        return self._promotion_max.get(asset, 0)

    def house_covers(self, command: GrantPromotion) -> bool:
        """Whether the promotions account has what is to be granted."""
        return command.amount <= self.ledger.amount(PROMOTIONS, FREE, command.asset)

    def _on_house_funded(self, event: HouseFunded) -> None:
        self.house_payments[event.transaction] = None

    def _on_promotion_granted(self, event: PromotionGranted) -> None:
        self.grants[event.grant] = None

    @classmethod
    def _fields(cls) -> Fields:
        return super()._fields() | {"house_payments": sorted, "grants": sorted}

    def load(self, state: VenueState) -> None:
        """Replace the state by a snapshot's."""
        super().load(state)
        self.house_payments = dict.fromkeys(state.house_payments)
        self.grants = dict.fromkeys(state.grants)
