"""The mistakes that can be put into the exchange by name, each with the formulas that it must break, and where."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class PlantedBug:
    """A mistake that can be put into a model by name, and the invariants that `prove` must then refute, and where.

    `slice` names the parts that it needs, where the model has parts.
    """

    name: str
    sentence: str
    action: str
    breaks: tuple[str, ...]
    slice: str = ""


def _in(slice: str, *bugs: tuple[str, str, str, tuple[str, ...]]) -> tuple[PlantedBug, ...]:  # noqa: A002 - as above
    return tuple(PlantedBug(*bug, slice) for bug in bugs)


EXCHANGE_BUGS = (
    *_in(
        "trading",
        ("refund", "Cancelling a buy order releases the wrong asset.", "cancel", ("CONS-1",)),
        (
            "double-fill",
            "A trade leaves the sell order's size as it was, so that it can be filled again.",
            "trade",
            ("FINAL-1", "FINAL-2", "FINAL-3"),
        ),
        ("cancel-filled", "A filled order can be cancelled.", "cancel", ("FINAL-1", "FINAL-2")),
        ("overdraft", "A withdrawal does not look at the balance.", "withdraw", ("CONS-2",)),
        ("self-trade", "Two orders of one client trade.", "trade", ("PRIO-2",)),
    ),
    *_in(
        "trading+phases",
        ("place-while-halted", "An order is accepted when trading has stopped.", "place", ("PHASE-1",)),
        ("open-unprepared", "The exchange opens without having been post-only.", "open", ("PHASE-2",)),
    ),
    *_in(
        "recovery",
        ("restore", "A restore brings back the snapshot and drops the log.", "restore", ("CONS-1",)),
        ("replay-twice", "A restore replays the log twice.", "restore", ("CONS-1", "REPL-1")),
    ),
    *_in(
        "margin",
        ("one-sided-fill", "A trade changes the position of the buyer only.", "trade_position", ("POS-2",)),
        ("settled-on-credit", "A loss is settled whether or not there is collateral.", "settle", ("CONS-2",)),
        (
            "insurance-of-another-product",
            "The last product's insurance pays for all of them.",
            "insure",
            ("ISOL-1",),
        ),
        ("halt-spreads", "The halt of one product halts all.", "halt_product", ("ISOL-1",)),
        ("liquidated-in-a-halt", "Accounts of a halted product are liquidated.", "liquidate", ("LIQ-1",)),
        ("liquidated-without-a-mark", "An unavailable mark counts as zero.", "liquidate", ("LIQ-1",)),
        ("liquidated-above-maintenance", "A sound account is liquidated.", "liquidate", ("LIQ-1",)),
    ),
    *_in(
        "margin+maintenance",
        ("liquidated-unloaded", "Liquidations do not wait for the load barrier.", "liquidate", ("PHASE-2",)),
    ),
    *_in(
        "custody",
        ("credit-when-seen", "A deposit is credited before it is final.", "report_deposit", ("CUST-2",)),
        ("report-counted-twice", "A credited deposit can be reported again.", "report_deposit", ("CUST-2",)),
        (
            "reorganisation-unnoticed",
            "A reorganisation that undoes a final deposit is no mismatch.",
            "report_reorganisation",
            ("CUST-1",),
        ),
        (
            "refund-of-another-asset",
            "A refund comes as another asset.",
            "refund_withdrawal",
            ("CONS-1", "CUST-1", "CUST-3"),
        ),
        (
            "refund-of-unrecognised",
            "A payment whose transaction id was changed counts as lost, and is refunded.",
            "refund_withdrawal",
            ("CUST-3",),
        ),
        ("quorum-short", "One share less than the threshold is enough.", "submit_share", ("CUST-4",)),
        ("share-counted-twice", "A signer's second share counts as another's.", "submit_share", ("CUST-4",)),
        ("nonce-kept", "A signer commits to the nonce that it has.", "commit_nonce", ("CUST-5",)),
    ),
    *_in(
        "custody+recovery",
        ("signers-restored", "The signers' stores are restored with the venue.", "restore", ("CUST-5",)),
    ),
    *_in(
        "maintenance",
        ("barrier-skipped", "Maintenance ends without load barrier.", "end_maintenance", ("PHASE-2",)),
        ("barrier-forgiven", "An aborted maintenance owes no load barrier.", "admit_orders", ("PHASE-2",)),
        ("opened-unloaded", "What was restored in post-only is opened without load barrier.", "open", ("PHASE-2",)),
        ("deploy-drops-log", "A deployment loads the snapshot and drops the log.", "deploy", ("MAINT-1",)),
    ),
    *_in(
        "maintenance+replication",
        ("promotion-confirms", "The load of a rebuilt standby is trusted once it leads.", "promote", ("PHASE-2",)),
    ),
    *_in(
        "replication",
        ("promote-stale", "A standby that lacks commands is promoted, and they are gone.", "promote", ("CONS-1",)),
        ("epoch-kept", "A promotion does not begin an epoch.", "promote", ("FENCE-1",)),
        ("no-fence", "A deposed primary still writes.", "deposed_write", ("FENCE-1", "REPL-1")),
        ("record-repeated", "A standby forgets how far it has come.", "catch_up", ("REPL-1",)),
    ),
    *_in(
        "surge",
        ("no-capacity", "The queue takes in more than it has room for.", "send", ("SURGE-1",)),
        ("shed-executes", "An order that is shed takes effect all the same.", "send", ("SURGE-1",)),
        ("orders-first", "Orders are decided while cancels wait.", "serve_order", ("SURGE-1",)),
        ("retry-twice", "Ids are not remembered.", "serve_order", ("FINAL-4",)),
    ),
)
"""By the parts that they need; the sizes of that slice are enough to find them."""
