"""What an engine under test can do, as it declares in its hello; sequences, comparison and invariants follow it."""

from enum import StrEnum

from msgspec import Struct

from holdfast_model.vocabulary.amounts import Label, Words


class Capability(StrEnum):
    """One thing that an engine can do or show. What is not declared is not asked, not compared and not checked."""

    LIMIT_ORDERS = "limit_orders"
    MARKET_ORDERS = "market_orders"
    IOC = "ioc"
    FOK = "fok"
    POST_ONLY = "post_only"
    AMEND = "amend"
    CANCEL_ALL = "cancel_all"
    CANCEL_ON_DISCONNECT = "cancel_on_disconnect"
    STOP_ORDERS = "stop_orders"
    ONE_CANCELS_OTHER = "one_cancels_other"
    GOOD_TILL_TIME = "good_till_time"
    PRICE_BANDS = "price_bands"
    """Bounds on limit prices and on how far a market order trades (`Market.band_ppm`, `Market.protection_ppm`)."""
    AUCTION = "auction"
    STP_CANCEL_NEWEST = "stp_cancel_newest"
    STP_CANCEL_OLDEST = "stp_cancel_oldest"
    STP_CANCEL_BOTH = "stp_cancel_both"
    STP_DECREMENT = "stp_decrement"
    FUNDS = "funds"
    """Deposits, withdrawals, balances and the check of funds."""
    ENTRIES = "entries"
    """Each movement of money is shown as an `entry_posted` event."""
    FEES = "fees"
    PROMOTIONS = "promotions"
    MARKS = "marks"
    """Marks are made from reported prices (`Market.mark`)."""
    MARGIN = "margin"
    """Margin accounts: transfers of collateral, positions in perpetuals, reduce-only orders, funding."""
    BORROWING = "borrowing"
    LIQUIDATION = "liquidation"
    PRODUCT_HALTS = "product_halts"
    PHASES = "phases"
    INGRESS = "ingress"
    """Commands that arrive together are admitted up to `Setup.ingress_capacity`, the rest refused."""
    SNAPSHOT = "snapshot"
    """State can be snapshotted, and restored from snapshot and journal while the engine runs."""
    RESTART = "restart"
    """What was acknowledged survives a kill of the process, on the same data directory."""
    REPLICAS = "replicas"
    """Several replicas fed by one log; they can be killed, paused, cut off and promoted."""
    PROCEDURE = "procedure"
    """Maintenance by the published procedure (`Setup.procedure`), releases, the load barrier."""
    CUSTODY = "custody"
    """Chains, signers and tiers of custody (`Setup.custody`)."""
    RATE_LIMITS = "rate_limits"
    READS = "reads"
    """Balances can be read, at the primary or at another replica (`read_account`)."""
    JOURNAL = "journal"
    """Answers carry a sequence number and the hash of a chained journal (docs/protocol.md)."""
    RESEND = "resend"
    """`observe` with `since_seq` tells again what was decided after that sequence number."""


class Convention(Struct, frozen=True, kw_only=True):
    """A documented behaviour that legitimately differs from the reference's, and where it is documented."""

    convention: Label
    where: Words
