"""Each invariant, on a history made by hand that breaks it at one step: reported there, once, with evidence."""

from hashlib import sha256
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from msgspec import Struct
from msgspec.structs import replace

from holdfast_invariants.auditor import Auditor, not_checkable
from holdfast_invariants.catalogue import CATALOGUE, invariant_by_id
from holdfast_model.findings import Violation
from holdfast_model.vocabulary import (
    FEES,
    OUTSIDE,
    ROUNDING,
    AmendOrder,
    Amount,
    AnnounceMaintenance,
    Answer,
    Balance,
    Bucket,
    Burst,
    CancelOrder,
    CancelReason,
    Capability,
    CauseKind,
    Command,
    Crash,
    CreditDeposit,
    Custody,
    DepositCredited,
    EntryPosted,
    Event,
    JournalRecord,
    Market,
    OpenOrder,
    OrderAccepted,
    OrderAmended,
    OrderCancelled,
    OrderFilled,
    OrderReduced,
    OrderRested,
    Phase,
    PhaseChanged,
    PlaceOrder,
    Posting,
    PriceTicks,
    Reason,
    Record,
    Rejected,
    Replica,
    Restart,
    SelfTrade,
    SetPhase,
    Setup,
    Side,
    SizeLots,
    Step,
    TakeSnapshot,
    TimeInForce,
    TradeExecuted,
    View,
    Withdrawal,
    WithdrawalPaid,
    WithdrawalRefunded,
    WithdrawalRequested,
    WithdrawalStatus,
)
from holdfast_model.vocabulary.chain import GENESIS, JournalBody, seal
from holdfast_model.vocabulary.wire import encode

SETUP = Setup(
    assets=("BTC", "USD"),
    markets=(
        Market(
            market="M",
            base="BTC",
            quote="USD",
            lot_amount=Amount(10),
            tick_amount=Amount(1),
            maker_fee_ppm=1_000,
            taker_fee_ppm=2_500,
        ),
    ),
    clients=("alice", "bob"),
    ingress_capacity=2,
)
FREE, HELD = Bucket.FREE, Bucket.HELD
BUY, SELL = Side.BUY, Side.SELL
TICK = AnnounceMaintenance(begins_ms=0)


# Words for events: an order is named `client/id` --------------------------------------------------------------------


def split(name: str) -> dict[str, Any]:
    client, order = name.split("/")
    return {"client": client, "order": order}


def accepted(name: str, side: Side, size: int, price: int | None, **kind: Any) -> OrderAccepted:  # noqa: ANN401 - fields
    usual: dict[str, Any] = {
        "time_in_force": TimeInForce.GTC,
        "post_only": False,
        "self_trade": SelfTrade.CANCEL_NEWEST,
    }
    return OrderAccepted(
        **split(name),
        market="M",
        side=side,
        size_lots=SizeLots(size),
        price_ticks=None if price is None else PriceTicks(price),
        **(usual | kind),
    )


def rested(name: str, size: int, price: int) -> OrderRested:
    return OrderRested(**split(name), price_ticks=PriceTicks(price), left_lots=SizeLots(size))


def open_order(name: str, side: Side, size: int, price: int) -> tuple[Event, ...]:
    return accepted(name, side, size, price), rested(name, size, price)


def filled(name: str) -> OrderFilled:
    return OrderFilled(**split(name))


def cancelled(name: str, left: int = 1) -> OrderCancelled:
    return OrderCancelled(**split(name), left_lots=SizeLots(left), reason=CancelReason.REQUESTED)


def reduced(name: str) -> OrderReduced:
    return OrderReduced(**split(name), size_lots=SizeLots(1), left_lots=SizeLots(1))


def amended(name: str, size: int, price: int, *, kept: bool) -> OrderAmended:
    return OrderAmended(
        **split(name),
        size_lots=SizeLots(size),
        price_ticks=PriceTicks(price),
        left_lots=SizeLots(size),
        priority_kept=kept,
    )


def trade(
    number: int, maker: str, taker: str, size: int, price: int, *, side: Side = BUY, fees: tuple[int, int] = (0, 0)
) -> TradeExecuted:
    m, t = split(maker), split(taker)
    return TradeExecuted(
        trade=number,
        market="M",
        price_ticks=PriceTicks(price),
        size_lots=SizeLots(size),
        taker_side=side,
        maker_client=m["client"],
        maker_order=m["order"],
        taker_client=t["client"],
        taker_order=t["order"],
        maker_fee=Amount(fees[0]),
        taker_fee=Amount(fees[1]),
    )


def entry(*lines: tuple[str, Bucket, str, int], cause: str = "t", kind: CauseKind = CauseKind.DEPOSIT) -> EntryPosted:
    return EntryPosted(
        cause_kind=kind,
        cause=cause,
        postings=tuple(
            Posting(account=account, bucket=bucket, asset=asset, amount=Amount(amount))
            for account, bucket, asset, amount in lines
        ),
    )


def paid_in(client: str, asset: str, amount: int) -> EntryPosted:
    return entry((OUTSIDE, FREE, asset, -amount), (client, FREE, asset, amount))


def withdrawal(kind: type[Struct], asset: str = "BTC", amount: int = 5) -> Any:  # noqa: ANN401 - one of three events
    return kind(client="alice", withdrawal="w", asset=asset, amount=Amount(amount))


def phases(*path: Phase) -> tuple[PhaseChanged, ...]:
    return tuple(PhaseChanged(before=before, after=after) for before, after in pairwise(path))


# Words for records and views ----------------------------------------------------------------------------------------


def told(*events: Event, step: Step = TICK, view: View | None = None) -> Record:
    """One step with one answer; the command matters only to some invariants."""
    return Record(step=step, answers=(Answer(events=events),), view=view)


def seen(view: View) -> Record:
    return Record(step=TakeSnapshot(), view=view)


def shown(name: str, side: Side, left: int, price: int, *, size: int | None = None) -> OpenOrder:
    return OpenOrder(
        **split(name),
        market="M",
        side=side,
        price_ticks=PriceTicks(price),
        size_lots=SizeLots(left if size is None else size),
        left_lots=SizeLots(left),
    )


def balance(account: str, asset: str, amount: int, bucket: Bucket = FREE) -> Balance:
    return Balance(account=account, bucket=bucket, asset=asset, amount=Amount(amount))


def pending(status: WithdrawalStatus = WithdrawalStatus.REQUESTED, amount: int = 5) -> Withdrawal:
    return Withdrawal(client="alice", withdrawal="w", asset="BTC", amount=Amount(amount), status=status)


def place(name: str, size: int = 1, price: int = 10, **kind: Any) -> PlaceOrder:  # noqa: ANN401 - fields
    return PlaceOrder(
        **split(name), market="M", side=BUY, size_lots=SizeLots(size), price_ticks=PriceTicks(price), **kind
    )


def cancel(name: str) -> CancelOrder:
    return CancelOrder(**split(name))


def journaled(commands: list[tuple[Command, tuple[Event, ...]]]) -> list[Record]:
    """Steps with numbers and a hash chain."""
    head, records = GENESIS, []
    for seq, (command, events) in enumerate(commands, start=1):
        _, head = seal(head, JournalBody(seq=seq, epoch=1, command=command, events=events))
        records.append(Record(step=command, answers=(Answer(events=events, seq=seq, journal_sha256=head),)))
    return records


def numbered(record: Record, seq: int) -> Record:
    return replace(record, answers=tuple(replace(answer, seq=seq) for answer in record.answers))


def hash_of(text: str) -> str:
    return sha256(text.encode()).hexdigest()


OVERLOADED = Rejected(reason=Reason.OVERLOADED)
REFUSED = Answer(events=(OVERLOADED,))
ASK = open_order("alice/1", SELL, 5, 10)
SHED = Record(
    step=Burst(commands=(place("bob/2"), cancel("bob/0"), cancel("bob/9"))),
    answers=(REFUSED, Answer(events=(cancelled("bob/0"),)), Answer(events=(cancelled("bob/9"),))),
)
REQUESTED = withdrawal(WithdrawalRequested)
DEPOSITED = DepositCredited(client="alice", asset="BTC", amount=Amount(5), transaction="t")
IN_MAINTENANCE = phases(Phase.OPEN, Phase.CANCEL_ONLY, Phase.MAINTENANCE)
JOURNAL = journaled(
    [
        (CreditDeposit(client="alice", asset="BTC", amount=Amount(5), transaction="t"), (DEPOSITED,)),
        (cancel("alice/nope"), (Rejected(reason=Reason.UNKNOWN_ORDER),)),
    ]
)
HEAD = JOURNAL[-1].answers[0].journal_sha256
FEE_ENTRY = ((("alice", FREE, "USD", 50 - 1), ("bob", FREE, "USD", -50 - 1)), "1", CauseKind.TRADE)


def trade_entry(fees: int, rounding: int) -> EntryPosted:
    lines, cause, kind = FEE_ENTRY
    return entry(*lines, (FEES, FREE, "USD", fees), (ROUNDING, FREE, "USD", rounding), cause=cause, kind=kind)


class Case(Struct, frozen=True, kw_only=True):
    """Steps that hold, then the one that breaks the invariant: `subject` and `found` are what must be reported."""

    invariant: str
    name: str
    good: list[Record]
    bad: Record
    subject: str
    found: str
    evidence: bool = True


def case(  # noqa: PLR0917 - a row of the table
    invariant: str,
    name: str,
    good: list[Record],
    bad: Record,
    subject: str,
    found: str,
    *,
    evidence: bool = True,
) -> Any:  # noqa: ANN401 - pytest keeps its type to itself
    return pytest.param(
        Case(invariant=invariant, name=name, good=good, bad=bad, subject=subject, found=found, evidence=evidence),
        id=f"{invariant} {name}",
    )


CASES = [
    # CONS-1
    case(
        "CONS-1",
        "an entry makes a unit",
        [told(paid_in("alice", "USD", 9))],
        told(entry(("alice", FREE, "USD", -3), ("bob", FREE, "USD", 4))),
        "entry deposit t",
        "the entry sums to 1 USD",
    ),
    case(
        "CONS-1",
        "an entry changes one asset into another",
        [told(paid_in("alice", "USD", 9))],
        told(entry(("alice", FREE, "USD", -1), ("alice", FREE, "BTC", 1))),
        "entry deposit t",
        "the entry sums to -1 USD",
    ),
    case(
        "CONS-1",
        "custody holds less than is owed",
        [
            seen(
                View(
                    seq=0,
                    balances=(balance("alice", "USD", 9), balance(OUTSIDE, "USD", -9)),
                    custody=(Custody(tier="hot", asset="USD", amount=Amount(9)),),
                )
            )
        ],
        seen(View(seq=0, balances=(balance("alice", "USD", 9), balance(OUTSIDE, "USD", -9)))),
        "custody USD",
        "clients and house hold 9 USD, custody holds 0",
        evidence=False,
    ),
    # CONS-2
    case(
        "CONS-2",
        "a client pays more than it has",
        [told(paid_in("alice", "USD", 9), entry(("alice", FREE, "USD", -9), ("bob", FREE, "USD", 9)))],
        told(entry(("alice", FREE, "USD", -1), ("bob", FREE, "USD", 1))),
        "alice free USD",
        "-1 after this entry",
    ),
    case(
        "CONS-2",
        "the house pays more than it has",
        [told(paid_in(FEES, "USD", 1))],
        told(entry((FEES, FREE, "USD", -2), ("bob", FREE, "USD", 2))),
        f"{FEES} free USD",
        "-1 after this entry",
    ),
    case(
        "CONS-2",
        "a balance below zero is shown",
        [seen(View(seq=0, balances=(balance(OUTSIDE, "USD", -9), balance("alice", "USD", 9))))],
        seen(View(seq=0, balances=(balance("alice", "USD", -1, HELD),))),
        "alice held USD",
        "-1 is shown",
    ),
    # CONS-3
    case(
        "CONS-3",
        "a taker's fee is rounded down",
        [told(*ASK), told(accepted("bob/2", BUY, 5, 10), trade(1, "alice/1", "bob/2", 5, 10, fees=(1, 1)))],
        told(accepted("bob/3", BUY, 5, 10), trade(2, "alice/1", "bob/3", 5, 10, fees=(0, 0))),
        "taker fee of trade 2",
        "0 USD",
    ),
    case(
        "CONS-3",
        "a maker pays a remainder twice",
        [told(*ASK), told(accepted("bob/2", BUY, 2, 10), trade(1, "alice/1", "bob/2", 2, 10, fees=(1, 1)))],
        told(accepted("bob/3", BUY, 2, 10), trade(2, "alice/1", "bob/3", 2, 10, fees=(1, 1))),
        "maker fee of trade 2",
        "1 USD",
    ),
    case(
        "CONS-3",
        "the remainder is booked as a fee",
        [told(*ASK), told(accepted("bob/2", BUY, 5, 10), trade(1, "alice/1", "bob/2", 5, 10, fees=(1, 1)))],
        told(trade_entry(2, 0)),
        f"{FEES} of trade 1",
        "2 USD posted",
    ),
    # FINAL-1
    *(
        case(
            "FINAL-1",
            f"{type(event).__name__} after the order was cancelled",
            [told(*ASK), told(cancelled("alice/1"))],
            told(event),
            "order alice/1",
            type(event).__name__,
            evidence=False,
        )
        for event in (
            rested("alice/1", 5, 10),
            filled("alice/1"),
            cancelled("alice/1"),
            reduced("alice/1"),
            amended("alice/1", 5, 10, kept=True),
        )
    ),
    case(
        "FINAL-1",
        "a filled order trades",
        [
            told(*ASK),
            told(accepted("bob/2", BUY, 5, 10), trade(1, "alice/1", "bob/2", 5, 10), filled("alice/1")),
        ],
        told(accepted("bob/3", BUY, 5, 10), trade(2, "alice/1", "bob/3", 1, 10)),
        "order alice/1",
        "trade 2",
        evidence=False,
    ),
    case(
        "FINAL-1",
        "a cancelled order is in the book",
        [told(*ASK), told(cancelled("alice/1")), seen(View(seq=0))],
        seen(View(seq=0, orders=(shown("alice/1", SELL, 5, 10),))),
        "order alice/1",
        "it is in the book with 5 lots left",
        evidence=False,
    ),
    # FINAL-2
    case(
        "FINAL-2",
        "a sequence number is given again",
        [numbered(told(*ASK), 1), numbered(told(cancelled("alice/1")), 2)],
        numbered(told(), 2),
        "sequence number 2",
        "2 is given again",
    ),
    case(
        "FINAL-2",
        "a withdrawal is refunded as another asset",
        [told(REQUESTED)],
        told(withdrawal(WithdrawalRefunded, asset="USD")),
        "withdrawal alice/w",
        "5 USD",
    ),
    case(
        "FINAL-2",
        "a withdrawal is paid in another amount",
        [told(REQUESTED)],
        told(withdrawal(WithdrawalPaid, amount=6)),
        "withdrawal alice/w",
        "6 BTC",
    ),
    case(
        "FINAL-2",
        "a withdrawal is paid that nobody asked for",
        [told(*ASK)],
        told(withdrawal(WithdrawalPaid)),
        "withdrawal alice/w",
        "5 BTC",
    ),
    case(
        "FINAL-2",
        "the history is shorter than what was acknowledged",
        [*JOURNAL, seen(View(seq=2, journal_sha256=HEAD))],
        seen(View(seq=1, journal_sha256=HEAD)),
        "history",
        "it ends at 1",
        evidence=False,
    ),
    case(
        "FINAL-2",
        "the phase is not the one told",
        [told(*phases(Phase.OPEN, Phase.HALTED)), seen(View(seq=0, phase=Phase.HALTED))],
        seen(View(seq=0)),
        "phase",
        "open",
        evidence=False,
    ),
    case(
        "FINAL-2",
        "a resting order is gone",
        [told(*ASK), seen(View(seq=0, orders=(shown("alice/1", SELL, 5, 10),)))],
        seen(View(seq=0)),
        "order alice/1",
        "it is not in the book",
        evidence=False,
    ),
    case(
        "FINAL-2",
        "a resting order has another price",
        [told(*ASK), seen(View(seq=0, orders=(shown("alice/1", SELL, 5, 10),)))],
        seen(View(seq=0, orders=(shown("alice/1", SELL, 5, 11),))),
        "order alice/1",
        "sell 5 of 5 lots at 11",
        evidence=False,
    ),
    case(
        "FINAL-2",
        "an order is in the book that nobody placed",
        [told(*ASK), seen(View(seq=0, orders=(shown("alice/1", SELL, 5, 10),)))],
        seen(View(seq=0, orders=(shown("alice/1", SELL, 5, 10), shown("bob/9", SELL, 5, 10)))),
        "order bob/9",
        "5 lots at 10 are in the book",
        evidence=False,
    ),
    case(
        "FINAL-2",
        "a withdrawal is not shown",
        [told(REQUESTED), seen(View(seq=0, withdrawals=(pending(),)))],
        seen(View(seq=0)),
        "withdrawal alice/w",
        "it is not shown",
        evidence=False,
    ),
    case(
        "FINAL-2",
        "a paid withdrawal is open again",
        [told(REQUESTED), told(withdrawal(WithdrawalPaid))],
        seen(View(seq=0, withdrawals=(pending(),))),
        "withdrawal alice/w",
        "requested: 5 BTC",
        evidence=False,
    ),
    # FINAL-3
    case(
        "FINAL-3",
        "a trade number is given again",
        [told(*ASK), told(accepted("bob/2", BUY, 5, 10), trade(1, "alice/1", "bob/2", 1, 10))],
        told(trade(1, "alice/1", "bob/2", 1, 10)),
        "trade 1",
        "number 1",
    ),
    case(
        "FINAL-3",
        "more is filled than is left",
        [told(*ASK), told(accepted("bob/2", BUY, 9, 10), trade(1, "alice/1", "bob/2", 3, 10))],
        told(trade(2, "alice/1", "bob/2", 3, 10)),
        "order alice/1",
        "3 lots filled in trade 2",
    ),
    case(
        "FINAL-3",
        "a fill is taken back",
        [
            told(*ASK),
            told(accepted("bob/2", BUY, 3, 10), trade(1, "alice/1", "bob/2", 3, 10)),
            seen(View(seq=0, orders=(shown("alice/1", SELL, 2, 10, size=5),))),
        ],
        seen(View(seq=0, orders=(shown("alice/1", SELL, 5, 10, size=5),))),
        "order alice/1",
        "0 lots are shown as filled",
    ),
    # FINAL-4
    case(
        "FINAL-4",
        "an order id is accepted again after its end",
        [told(*ASK), told(cancelled("alice/1")), told(*open_order("bob/1", SELL, 5, 10))],
        told(accepted("alice/1", SELL, 5, 10)),
        "order alice/1",
        "accepted a second time",
    ),
    case(
        "FINAL-4",
        "a deposit is credited twice",
        [told(DEPOSITED), told(Rejected(reason=Reason.DUPLICATE_DEPOSIT))],
        told(DEPOSITED),
        "deposit t",
        "credited a second time",
    ),
    case(
        "FINAL-4",
        "a withdrawal is taken in twice",
        [told(REQUESTED), told(withdrawal(WithdrawalPaid))],
        told(REQUESTED),
        "withdrawal alice/w",
        "requested a second time",
    ),
    *(
        case(
            "FINAL-4",
            f"a withdrawal is {second.__name__} after it was {first.__name__}",
            [told(REQUESTED), told(withdrawal(first))],
            told(withdrawal(second)),
            "withdrawal alice/w",
            "given an outcome after it was",
        )
        for first in (WithdrawalPaid, WithdrawalRefunded)
        for second in (WithdrawalPaid, WithdrawalRefunded)
    ),
    # PRIO-1
    case(
        "PRIO-1",
        "the younger order trades first",
        [told(*ASK), told(*open_order("alice/2", SELL, 5, 10))],
        told(accepted("bob/3", BUY, 1, 10), trade(1, "alice/2", "bob/3", 1, 10)),
        "trade 1",
        "order alice/2 traded",
    ),
    case(
        "PRIO-1",
        "a worse price trades first",
        [told(*ASK), told(*open_order("alice/2", SELL, 5, 11))],
        told(accepted("bob/3", BUY, 1, 11), trade(1, "alice/2", "bob/3", 1, 11)),
        "trade 1",
        "order alice/2 traded",
    ),
    case(
        "PRIO-1",
        "the trade is at the taker's price",
        [told(*ASK)],
        told(accepted("bob/3", BUY, 1, 12), trade(1, "alice/1", "bob/3", 1, 12)),
        "price of trade 1",
        "12",
    ),
    case(
        "PRIO-1",
        "the taker pays more than its limit",
        [told(*ASK)],
        told(accepted("bob/3", BUY, 1, 9), trade(1, "alice/1", "bob/3", 1, 10)),
        "price of trade 1 for its taker",
        "10",
    ),
    case(
        "PRIO-1",
        "the book is crossed",
        [told(*ASK), told(*open_order("bob/2", BUY, 1, 9))],
        told(*open_order("bob/3", BUY, 1, 10)),
        "book of M",
        "bid 10, ask 10",
        evidence=False,
    ),
    case(
        "PRIO-1",
        "an order keeps its place for more",
        [told(*ASK), told(amended("alice/1", 4, 10, kept=True))],
        told(amended("alice/1", 5, 10, kept=True)),
        "order alice/1",
        "it keeps its place with 5 lots at 10",
    ),
    case(
        "PRIO-1",
        "a queue is shown the wrong way round",
        [
            told(*ASK),
            told(*open_order("bob/2", SELL, 5, 10)),
            seen(View(seq=0, orders=(shown("alice/1", SELL, 5, 10), shown("bob/2", SELL, 5, 10)))),
        ],
        seen(View(seq=0, orders=(shown("bob/2", SELL, 5, 10), shown("alice/1", SELL, 5, 10)))),
        "queue of M sell 10",
        "bob/2, alice/1",
        evidence=False,
    ),
    # PRIO-2
    case(
        "PRIO-2",
        "an immediate-or-cancel order rests",
        [told(*ASK)],
        told(accepted("bob/2", BUY, 5, 9, time_in_force=TimeInForce.IOC), rested("bob/2", 5, 9)),
        "order bob/2",
        "5 lots of a ioc order rest",
    ),
    case(
        "PRIO-2",
        "a market order rests",
        [told(*ASK)],
        told(accepted("bob/2", BUY, 5, None), rested("bob/2", 5, 9)),
        "order bob/2",
        "5 lots of a market order rest",
    ),
    case(
        "PRIO-2",
        "a fill-or-kill order is filled in part",
        [told(*ASK)],
        told(
            accepted("bob/2", BUY, 9, 10, time_in_force=TimeInForce.FOK),
            trade(1, "alice/1", "bob/2", 5, 10),
            step=place("bob/2", 9, time_in_force=TimeInForce.FOK),
        ),
        "order bob/2",
        "5 of 9 lots filled",
    ),
    case(
        "PRIO-2",
        "a post-only order takes",
        [told(*ASK)],
        told(accepted("bob/2", BUY, 5, 10, post_only=True), trade(1, "alice/1", "bob/2", 5, 10)),
        "order bob/2",
        "a post-only order took 5 lots in trade 1",
    ),
    case(
        "PRIO-2",
        "a client trades with itself",
        [told(*ASK)],
        told(accepted("alice/2", BUY, 5, 10), trade(1, "alice/1", "alice/2", 5, 10)),
        "trade 1",
        "alice trades with itself",
    ),
    case(
        "PRIO-2",
        "an immediate-or-cancel order is shown in the book",
        [told(*ASK), told(accepted("bob/2", BUY, 5, 9, time_in_force=TimeInForce.IOC))],
        seen(View(seq=0, orders=(shown("bob/2", BUY, 5, 9),))),
        "order bob/2",
        "5 lots of a ioc order are in the book",
    ),
    # REPL-1
    case(
        "REPL-1",
        "two replicas differ at one length",
        [
            seen(
                View(
                    seq=1,
                    replicas=(
                        Replica(replica="primary", seq=1, state_sha256=hash_of("a")),
                        Replica(replica="standby", seq=0, state_sha256=hash_of("b")),
                    ),
                )
            )
        ],
        seen(
            View(
                seq=2,
                replicas=(
                    Replica(replica="primary", seq=2, state_sha256=hash_of("c")),
                    Replica(replica="standby", seq=1, state_sha256=hash_of("x")),
                ),
            )
        ),
        "state at 1",
        f"{hash_of('x')} at the standby",
    ),
    case(
        "REPL-1",
        "the state after a restart is another",
        [seen(View(seq=1, replicas=(Replica(replica="primary", seq=1, state_sha256=hash_of("a")),)))] * 2,
        Record(
            step=Restart(),
            view=View(seq=1, replicas=(Replica(replica="primary", seq=1, state_sha256=hash_of("x")),)),
        ),
        "state at 1",
        f"{hash_of('x')} at the primary",
    ),
    # PHASE-1
    case(
        "PHASE-1",
        "an order is taken in while halted",
        [told(*phases(Phase.OPEN, Phase.HALTED)), told(Rejected(reason=Reason.PHASE_FORBIDS), step=place("bob/1"))],
        told(accepted("bob/2", BUY, 1, 10), step=place("bob/2")),
        "PlaceOrder in halted",
        "OrderAccepted",
    ),
    case(
        "PHASE-1",
        "an amended order trades while the phase is post-only",
        [told(*ASK), told(*phases(Phase.OPEN, Phase.CANCEL_ONLY, Phase.POST_ONLY))],
        told(
            trade(1, "alice/1", "bob/2", 1, 10),
            step=AmendOrder(client="bob", order="2", size_lots=SizeLots(1), price_ticks=PriceTicks(10)),
        ),
        "trade in post_only",
        "trade 1",
    ),
    case(
        "PHASE-1",
        "maintenance is left for the open phase at once",
        [told(*IN_MAINTENANCE, step=SetPhase(phase=Phase.MAINTENANCE))],
        told(*phases(Phase.MAINTENANCE, Phase.OPEN), step=SetPhase(phase=Phase.OPEN)),
        "phase maintenance to open",
        "from maintenance to open",
    ),
    case(
        "PHASE-1",
        "the phase left is not the one that was entered",
        [told(*phases(Phase.OPEN, Phase.HALTED))],
        told(*phases(Phase.POST_ONLY, Phase.OPEN)),
        "phase post_only to open",
        "from post_only to open",
    ),
    # MAINT-1
    case(
        "MAINT-1",
        "an order is gone in maintenance",
        [told(*ASK), told(*IN_MAINTENANCE), seen(View(seq=0, orders=(shown("alice/1", SELL, 5, 10),)))],
        seen(View(seq=0)),
        "order alice/1",
        "nothing after maintenance",
        evidence=False,
    ),
    case(
        "MAINT-1",
        "a balance is another after maintenance",
        [
            told(paid_in("alice", "BTC", 5)),
            told(*IN_MAINTENANCE),
            seen(View(seq=0, balances=(balance("alice", "BTC", 5), balance(OUTSIDE, "BTC", -5)))),
            told(*phases(Phase.MAINTENANCE, Phase.POST_ONLY, Phase.OPEN)),
        ],
        seen(View(seq=0, balances=(balance("alice", "BTC", 6), balance(OUTSIDE, "BTC", -5)))),
        "balance alice free BTC",
        "6 after maintenance",
        evidence=False,
    ),
    case(
        "MAINT-1",
        "a withdrawal is paid in maintenance",
        [told(REQUESTED), told(*IN_MAINTENANCE), seen(View(seq=0, withdrawals=(pending(),)))],
        seen(View(seq=0, withdrawals=(pending(WithdrawalStatus.PAID),))),
        "withdrawal alice/w",
        "paid after maintenance",
        evidence=False,
    ),
    # SURGE-1
    case(
        "SURGE-1",
        "a command is not answered",
        [told(*ASK)],
        told(step=place("bob/2")),
        "PlaceOrder 0",
        "no answer",
    ),
    case(
        "SURGE-1",
        "a refused command has an effect",
        [SHED],
        told(OVERLOADED, accepted("bob/3", BUY, 1, 10), step=place("bob/3")),
        "PlaceOrder 0",
        "a refusal with 1 more events",
    ),
    case(
        "SURGE-1",
        "more is taken in than there is room for",
        [Record(step=Burst(commands=(place("bob/1"), place("bob/2"))), answers=(Answer(events=ASK),) * 2)],
        Record(
            step=Burst(commands=(place("bob/3"), place("bob/4"), place("bob/5"))), answers=(Answer(events=ASK),) * 3
        ),
        "ingress",
        "3 commands taken in at once",
        evidence=False,
    ),
    case(
        "SURGE-1",
        "a cancel is shed while a new order is taken in",
        [
            Record(
                step=Burst(commands=(place("bob/1"), cancel("bob/0"), cancel("bob/9"))),
                answers=(REFUSED, Answer(events=(cancelled("bob/0"),)), Answer(events=(cancelled("bob/9"),))),
            )
        ],
        Record(
            step=Burst(commands=(place("bob/1"), cancel("bob/0"), place("bob/2"))),
            answers=(Answer(events=ASK), REFUSED, Answer(events=ASK)),
        ),
        "cancels",
        "1 commands were shed while new orders were taken in",
    ),
    case(
        "SURGE-1",
        "an order that was shed is in the book",
        [SHED, seen(View(seq=0))],
        seen(View(seq=0, orders=(shown("bob/2", BUY, 1, 10),))),
        "order bob/2",
        "it rests",
    ),
    case(
        "SURGE-1",
        "a command that was shed is decided all the same",
        [SHED],
        seen(View(seq=1)),
        "refused commands",
        "1 commands were decided",
        evidence=False,
    ),
    case(
        "SURGE-1",
        "the queue at the door is too long",
        [seen(View(seq=0, ingress_depth_max=2))],
        seen(View(seq=0, ingress_depth_max=3)),
        "ingress",
        "a queue of 3",
        evidence=False,
    ),
    # AUDIT-1
    case(
        "AUDIT-1",
        "a record is hashed alone and not in the chain",
        JOURNAL[:1],
        replace(
            JOURNAL[1],
            answers=(
                replace(
                    JOURNAL[1].answers[0],
                    journal_sha256=sha256(
                        (
                            GENESIS
                            + encode(
                                JournalBody(
                                    seq=2, epoch=1, command=cancel("alice/nope"), events=JOURNAL[1].answers[0].events
                                )
                            ).decode()
                        ).encode()
                    ).hexdigest(),
                ),
            ),
        ),
        "journal record 2",
        "head ",
    ),
    case(
        "AUDIT-1",
        "the journal shown ends elsewhere",
        [*JOURNAL, seen(View(seq=2, journal_sha256=HEAD))],
        seen(View(seq=2, journal_sha256=GENESIS)),
        "journal head",
        f"{GENESIS} is shown",
        evidence=False,
    ),
    case(
        "AUDIT-1",
        "a balance has no entry",
        [
            told(paid_in("alice", "BTC", 5)),
            seen(
                View(
                    seq=0,
                    journal_sha256=GENESIS,
                    balances=(balance("alice", "BTC", 5), balance(OUTSIDE, "BTC", -5)),
                )
            ),
        ],
        seen(
            View(
                seq=0,
                journal_sha256=GENESIS,
                balances=(balance("alice", "BTC", 5), balance("bob", "BTC", 1), balance(OUTSIDE, "BTC", -5)),
            )
        ),
        "bob free BTC",
        "1 is shown",
        evidence=False,
    ),
]


def auditor_of(identifier: str) -> Auditor:
    return Auditor(SETUP, catalogue=(invariant_by_id(identifier),))


@pytest.mark.parametrize("wrong", CASES)
def test_a_violation_is_reported_at_the_step_that_causes_it_and_once(wrong: Case) -> None:
    auditor = auditor_of(wrong.invariant)
    for record in wrong.good:
        assert auditor.watch(record) == []
    new = auditor.watch(wrong.bad)
    about = [violation for violation in new if violation.subject == wrong.subject]
    assert [(found.invariant, found.step) for found in about] == [(wrong.invariant, len(wrong.good))], new
    assert about[0].found.startswith(wrong.found)
    assert about[0].expected not in ("", about[0].found)
    assert bool(about[0].evidence) is wrong.evidence
    assert auditor.violations == new
    auditor.watch(wrong.bad)
    subjects = [violation.subject for violation in auditor.violations]
    assert subjects.count(wrong.subject) == 1, "one subject is reported once"
    (coverage,) = auditor.coverage()
    assert coverage.checked > 0
    assert coverage.violations == len(auditor.violations)


CUSTODY = {f"CUST-{number}" for number in range(1, 7)}
HERE = {parameter.values[0].invariant for parameter in CASES}
ELSEWHERE = {
    "CONS-4": "test_invariants_positions.py",
    "SEQ-1": "test_invariants_feed.py",
    "POS-1": "test_invariants_positions.py",
    "POS-2": "test_invariants_positions.py",
    "MARK-1": "test_invariants_marks.py",
    "LIQ-1": "test_invariants_liquidation.py",
    "ADL-1": "test_invariants_liquidation.py",
    "ISOL-1": "test_invariants_isolation.py",
    "PHASE-2": "test_invariants_obligations.py",
    **dict.fromkeys(CUSTODY, "test_invariants_custody.py"),
    "READ-1": "test_invariants_operations.py",
    "FENCE-1": "test_invariants_operations.py",
    "LIVE-1": "../harness/test_healing.py",
}
"""What has its histories in a file of its own."""


def test_every_invariant_has_a_hand_made_history() -> None:
    assert HERE | ELSEWHERE.keys() == {invariant.id for invariant in CATALOGUE}
    assert not HERE & ELSEWHERE.keys()
    for identifier, name in ELSEWHERE.items():
        assert identifier in (Path(__file__).parent / name).read_text(encoding="utf-8")


def test_checking_goes_on_past_the_first_violation() -> None:
    auditor = Auditor(SETUP, catalogue=[invariant_by_id(name) for name in ("CONS-1", "CONS-2", "FINAL-1")])
    auditor.watch(told(entry(("alice", FREE, "USD", 1))))
    auditor.watch(told(*ASK))
    auditor.watch(told(cancelled("alice/1")))
    auditor.watch(told(entry(("alice", FREE, "BTC", 1), ("bob", FREE, "BTC", -1), cause="later")))
    auditor.watch(told(rested("alice/1", 5, 10)))
    assert [(found.invariant, found.step) for found in auditor.violations] == [
        ("CONS-1", 0),
        ("CONS-2", 3),
        ("FINAL-1", 4),
    ]


def test_the_evidence_of_an_entry_that_does_not_balance_is_the_entry() -> None:
    unbalanced = entry(("alice", FREE, "USD", 1))
    (found,) = auditor_of("CONS-1").watch(told(unbalanced))
    assert found.evidence == (encode(unbalanced).decode(),)


# A command whose outcome nobody was told ---------------------------------------------------------------------------


def resent(command: Command, *events: Event) -> JournalRecord:
    _, head = seal(GENESIS, JournalBody(seq=1, epoch=1, command=command, events=events))
    return JournalRecord(seq=1, epoch=1, command=command, events=events, journal_sha256=head)


IN_FLIGHT = place("bob/2")
DECIDED = resent(IN_FLIGHT, accepted("bob/2", BUY, 1, 10), rested("bob/2", 1, 10))


def restarted(*records: JournalRecord) -> Record:
    return Record(step=Restart(), resent=records)


def test_a_command_in_flight_at_a_crash_may_have_been_decided_or_not() -> None:
    for answer in ((DECIDED,), ()):
        auditor = Auditor(SETUP)
        auditor.watch(Record(step=Crash(in_flight=IN_FLIGHT)))
        assert auditor.watch(restarted(*answer)) == []
        assert (("bob", "2") in auditor.told.resting) is bool(answer)


@pytest.mark.parametrize(
    "before",
    [Record(step=Crash()), Record(step=Crash(in_flight=place("bob/3")))],
    ids=["nothing was in flight", "something else was in flight"],
)
def test_a_command_that_nobody_gave_is_a_violation_of_final_2(before: Record) -> None:
    auditor = Auditor(SETUP)
    auditor.watch(before)
    assert auditor.watch(restarted(DECIDED)) == [
        Violation(
            invariant="FINAL-2",
            step=1,
            subject="journal record 1",
            found="PlaceOrder is in the history",
            expected="only commands that were given, once each",
        )
    ]


def test_a_command_in_flight_that_is_in_the_history_twice_is_a_violation() -> None:
    auditor = Auditor(SETUP)
    auditor.watch(Record(step=Crash(in_flight=IN_FLIGHT)))
    new = auditor.watch(restarted(DECIDED, replace(DECIDED, seq=2)))
    assert {(found.invariant, found.subject) for found in new} >= {
        ("FINAL-2", "journal record 2"),
        ("FINAL-4", "order bob/2"),
    }


def test_a_command_that_a_restart_showed_not_to_be_decided_is_not_excused_later() -> None:
    auditor = Auditor(SETUP)
    for record in (Record(step=Crash(in_flight=IN_FLIGHT)), restarted(), Record(step=Crash())):
        assert auditor.watch(record) == []
    assert [(found.invariant, found.step) for found in auditor.watch(restarted(DECIDED))] == [("FINAL-2", 3)]


def test_a_command_in_flight_excuses_a_number_that_nobody_was_told_until_the_restart() -> None:
    auditor = auditor_of("SURGE-1")
    auditor.watch(Record(step=place("bob/9"), answers=(REFUSED,)))
    auditor.watch(Record(step=Crash(in_flight=IN_FLIGHT)))
    assert auditor.look(View(seq=1)) == []


def test_a_size_that_is_shown_smaller_is_a_matter_of_final_2_and_takes_no_fill_back() -> None:
    history = [
        told(*ASK),
        told(accepted("bob/2", BUY, 3, 10), trade(1, "alice/1", "bob/2", 3, 10)),
        seen(View(seq=0, orders=(shown("alice/1", SELL, 2, 10, size=4),))),
    ]
    for identifier, expected in (("FINAL-3", []), ("FINAL-2", ["order alice/1"])):
        auditor = auditor_of(identifier)
        for record in history:
            auditor.watch(record)
        assert [violation.subject for violation in auditor.violations] == expected


@pytest.mark.parametrize(("events", "violations"), [((cancelled("alice/1", 5),), 0), ((OVERLOADED,), 1)])
def test_maintenance_is_watched_until_the_first_command_after_it_that_has_an_effect(
    events: tuple[Event, ...], violations: int
) -> None:
    auditor = auditor_of("MAINT-1")
    book = (shown("alice/1", SELL, 5, 10),)
    for record in (
        told(*ASK),
        told(*IN_MAINTENANCE),
        told(*phases(Phase.MAINTENANCE, Phase.POST_ONLY)),
        seen(View(seq=0, orders=book)),
    ):
        assert auditor.watch(record) == []
    auditor.watch(told(*events))
    assert len(auditor.watch(seen(View(seq=0, orders=(*book, shown("bob/9", SELL, 1, 10)))))) == violations


# What an engine cannot show ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("gone", "unchecked"),
    [
        (Capability.FUNDS, {"CONS-1", "CONS-2", "CONS-4", "MAINT-1"} | CUSTODY),
        (
            Capability.ENTRIES,
            {"CONS-1", "CONS-2", "CONS-3", "CONS-4", "POS-1", "LIQ-1", "ADL-1", "ISOL-1", "READ-1", "AUDIT-1"}
            | CUSTODY,
        ),
        (Capability.CUSTODY, CUSTODY),
        (Capability.MARGIN, {"POS-1", "POS-2", "ISOL-1"}),
        (Capability.MARKS, {"MARK-1"}),
        (Capability.LIQUIDATION, {"LIQ-1", "ADL-1"}),
        (Capability.PRODUCT_HALTS, {"ISOL-1"}),
        (Capability.FEES, {"CONS-3"}),
        (Capability.PHASES, {"PHASE-1", "PHASE-2", "MAINT-1"}),
        (Capability.INGRESS, {"SURGE-1"}),
        (Capability.JOURNAL, {"REPL-1", "READ-1", "FENCE-1", "AUDIT-1"}),
        (
            Capability.LIMIT_ORDERS,
            {"FINAL-1", "FINAL-2", "FINAL-3", "FINAL-4", "PRIO-1", "PRIO-2", "SEQ-1", "LIVE-1"},
        ),
        (Capability.REPLICAS, {"FENCE-1"}),
        (Capability.READS, {"READ-1"}),
    ],
)
def test_what_an_engine_does_not_declare_is_not_checked_and_the_reason_is_given(
    gone: Capability, unchecked: set[str]
) -> None:
    able = frozenset(Capability) - {gone}
    entries = not_checkable(able)
    assert {missing.subject for missing in entries} == unchecked
    assert {missing.reason for missing in entries} <= {f"the engine does not declare {gone}"}
    auditor = Auditor(SETUP, capabilities=able)
    for parameter in CASES:
        for record in (*parameter.values[0].good, parameter.values[0].bad):
            auditor.watch(record)
    checked = {coverage.id for coverage in auditor.coverage() if coverage.checked}
    assert checked & HERE == HERE - unchecked
    assert not checked & unchecked


def test_an_engine_that_declares_everything_has_nothing_unchecked() -> None:
    assert not_checkable(frozenset(Capability)) == ()


@pytest.mark.parametrize(
    ("convention", "history", "broken"),
    [
        (
            "amend-resets-self-trade-prevention",
            [
                told(*ASK),
                told(accepted("alice/2", BUY, 5, 9), rested("alice/2", 5, 9)),
                told(amended("alice/2", 5, 10, kept=False), trade(1, "alice/1", "alice/2", 5, 10)),
            ],
            "PRIO-2",
        ),
    ],
)
def test_a_declared_convention_excuses_exactly_what_it_says(
    convention: str, history: list[Record], broken: str
) -> None:
    def found(conventions: frozenset[str]) -> list[str]:
        auditor = Auditor(SETUP, conventions=conventions)
        for record in history:
            auditor.watch(record)
        return [violation.invariant for violation in auditor.violations if violation.invariant == broken]

    assert found(frozenset()) == [broken]
    assert found(frozenset({"another"})) == [broken]
    assert found(frozenset({convention})) == []


def test_an_amended_order_that_keeps_its_place_breaks_the_convention_that_it_never_does() -> None:
    history = [told(*ASK), told(amended("alice/1", 4, 10, kept=True))]
    for conventions, expected in ((frozenset[str](), []), (frozenset({"amend-loses-priority"}), ["PRIO-1"])):
        auditor = Auditor(SETUP, conventions=conventions, catalogue=[invariant_by_id("PRIO-1")])
        for record in history:
            auditor.watch(record)
        assert [violation.invariant for violation in auditor.violations] == expected


def test_answers_of_a_burst_are_believed_in_the_order_in_which_they_were_decided() -> None:
    commands = (place("bob/1"), cancel("alice/1"))
    for first, second, expected in ((3, 2, []), (2, 3, ["book of M"])):
        auditor = auditor_of("PRIO-1")
        auditor.watch(told(*ASK))
        auditor.watch(
            Record(
                step=Burst(commands=commands),
                answers=(
                    Answer(events=(accepted("bob/1", BUY, 5, 10), rested("bob/1", 5, 10)), seq=first),
                    Answer(events=(cancelled("alice/1"),), seq=second),
                ),
            )
        )
        assert [violation.subject for violation in auditor.violations] == expected
