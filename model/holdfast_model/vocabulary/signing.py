"""What is signed when money leaves custody."""

from msgspec import Struct

from holdfast_model.vocabulary.amounts import Amount, AssetId, Label


class PaymentIntent(Struct, frozen=True, kw_only=True):
    """What a payment out of custody is to do; the signature is over exactly this."""

    payment: Label
    asset: AssetId
    amount: Amount
    destination: Label
    tier: Label
    fee: Amount
