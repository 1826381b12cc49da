"""Incidents of custody: another unit, deposits too early, chains that lose blocks, payments made twice."""

from collections.abc import Callable, Iterator
from functools import partial

import pytest
from msgspec.structs import replace

from holdfast.engine import Engine
from holdfast.setups import CUSTODY_SETUP
from holdfast.stories import Story
from holdfast_engine.exchange import Parts
from holdfast_engine.state import OutgoingPayment
from holdfast_engine.venue import Venue
from holdfast_model.vocabulary import (
    FEES,
    NETWORK,
    ROUNDING,
    Amount,
    ApproveWithdrawal,
    AttestCustody,
    BroadcastPayment,
    Bucket,
    Burst,
    Command,
    CommitNonce,
    ConfirmLoad,
    CoverShortfall,
    Crash,
    CrashPoint,
    DepositCredited,
    FundHouse,
    Hex,
    LiabilitiesPublished,
    MismatchFound,
    PaymentBroadcast,
    PaymentStatus,
    Phase,
    PromoteReplica,
    PublishLiabilities,
    Reason,
    Reconcile,
    Reconciled,
    RefundWithdrawal,
    Rejected,
    ReportDeposit,
    ReportPayment,
    ReportReorganisation,
    RequestWithdrawal,
    Restart,
    RestartSigning,
    RestoreSnapshot,
    SetPhase,
    SetProvider,
    Side,
    SignerId,
    StartReplica,
    SubmitShare,
    SweepFunds,
    TakeSnapshot,
    WithdrawalPaid,
    WithdrawalStatus,
)

BTC, USD = "BTC", "USD"
Act = Callable[[Story], object]
Told = Callable[[Engine], None]


def funded(engine: Engine, **amounts: int) -> Story:
    """Clients with bitcoin that came over its chain."""
    story = Story(CUSTODY_SETUP, engine)
    for client, amount in amounts.items():
        story.deposit(client, BTC=amount)
    return story


def asked(withdrawal: str, amount: int = 60, client: str = "alice") -> RequestWithdrawal:
    """A request for bitcoin."""
    return RequestWithdrawal(client=client, withdrawal=withdrawal, asset=BTC, amount=Amount(amount))


def approved(withdrawal: str, client: str = "alice") -> ApproveWithdrawal:
    """The approval of a withdrawal."""
    return ApproveWithdrawal(client=client, withdrawal=withdrawal)


def refunded(withdrawal: str, client: str = "alice") -> RefundWithdrawal:
    """The refund of a withdrawal."""
    return RefundWithdrawal(client=client, withdrawal=withdrawal)


def published(story: Story, asset: str) -> LiabilitiesPublished:
    """What is published of an asset now."""
    told = story.do(PublishLiabilities(asset=asset))[0]
    assert isinstance(told, LiabilitiesPublished)
    return told


# Deposits ---------------------------------------------------------------------------------------------------------


def test_what_is_credited_is_what_came_in_and_what_is_owed_is_what_is_there(engine: Engine) -> None:
    """bithumb-2026-02-06: 620,000 bitcoin were credited where 40,000 were held, and nobody compared the two."""
    story = funded(engine, alice=400, bob=50)
    assert story.amount("alice", Bucket.FREE, BTC) == 400
    story.sell("alice", "a1", 10, 100)
    payment = story.approve("alice", "w1", BTC, 60)
    # What is held for orders and withdrawals is owed like what is free, and all of it is in custody.
    assert (story.amount("alice", Bucket.HELD, BTC), story.amount("alice", Bucket.FREE, BTC)) == (162, 238)
    assert (published(story, BTC).total, story.held_by("hot", BTC)) == (450, 450)
    assert published(story, BTC).accounts == 3
    assert [type(event) for event in story.do(Reconcile())] == [Reconciled]
    # What nobody has can be neither sold nor withdrawn nor paid out of what is another client's.
    assert story.refusal(story.order(Side.SELL, "alice", "a2", 62_000, 100)) is Reason.INSUFFICIENT_FUNDS
    assert story.refusal(asked("w2", 62_000)) is Reason.INSUFFICIENT_FUNDS
    assert story.refusal(asked("w2", 237)) is Reason.INSUFFICIENT_FUNDS
    story.sign(payment)
    story.broadcast(payment)
    story.include(payment)
    assert (published(story, BTC).total, story.held_by("hot", BTC)) == (388, 388)
    story.deposit("carol", USD=2_000)
    story.buy("carol", "c1", 10, 100)
    fees = story.amount(FEES, Bucket.FREE, USD) + story.amount(ROUNDING, Bucket.FREE, USD)
    assert fees > 0
    assert (published(story, USD).total, story.held_by("hot", USD)) == (2_000 - fees, 2_000)


def test_a_deposit_is_nobodys_money_before_its_chain_has_confirmed_it(engine: Engine) -> None:
    """kraken-deposit-2024-06: a deposit counted as soon as it was seen, and was withdrawn before it was there."""
    story = funded(engine, bob=500)
    story.mine(BTC)
    fake = story.arrival("alice", BTC, 300)
    story.do(fake)
    for blocks in (0, 1):
        if blocks:
            story.mine(BTC)
        assert [(item.client, item.amount, item.final) for item in story.view.deposits] == [("alice", 300, False)]
        assert story.amount("alice", Bucket.FREE, BTC) == 0
        assert story.refusal(asked(f"w{story.view.seq}")) is Reason.INSUFFICIENT_FUNDS
        assert story.refusal(story.order(Side.SELL, "alice", "a1", 1, 100)) is Reason.INSUFFICIENT_FUNDS
        assert story.refusal(fake) is Reason.DUPLICATE_DEPOSIT
    # It never becomes final: the chain goes on without it, and custody has what the others brought.
    story.do(ReportReorganisation(asset=BTC, height=fake.height))
    story.mine(BTC, 10)
    assert story.view.deposits == ()
    assert (story.amount("alice", Bucket.FREE, BTC), story.held_by("hot", BTC)) == (0, 500)
    # In another block it is taken in again, as what it is there, and is hers with the third confirmation.
    again = replace(fake, amount=Amount(30), height=story.view.chains[0].height)
    story.do(again)
    story.mine(BTC)
    assert story.amount("alice", Bucket.FREE, BTC) == 0
    story.mine(BTC)
    assert story.amount("alice", Bucket.FREE, BTC) == 30
    story.do(Crash(), Restart())
    assert story.refusal(again) is Reason.DUPLICATE_DEPOSIT


def test_a_chain_that_undoes_what_was_withdrawn_halts_the_venue(engine: Engine) -> None:
    """etc-2019-01: deposits were spent twice: the chain lost the blocks that held them after they were paid out."""
    story = funded(engine, bob=500)
    story.mine(BTC)
    spent_twice = story.arrival("alice", BTC, 300)
    story.do(spent_twice)
    # What is not final yet goes without a trace.
    story.do(ReportReorganisation(asset=BTC, height=spent_twice.height))
    story.mine(BTC)
    spent_twice = replace(spent_twice, height=story.view.chains[0].height)
    story.do(spent_twice)
    story.mine(BTC, 2)
    story.withdraw("alice", "w1", BTC, 290)
    assert story.held_by("hot", BTC) == 500 + 300 - 292
    told = story.do(ReportReorganisation(asset=BTC, height=spent_twice.height))
    assert [event.place for event in told if isinstance(event, MismatchFound)].count("hot") >= 1
    assert story.view.phase is Phase.HALTED
    # The payment is undone as well, and the ledger says what it said: alice has her 8, bob his 500.
    assert (story.amount("alice", Bucket.FREE, BTC), story.amount("bob", Bucket.FREE, BTC)) == (8, 500)
    assert story.held_by("hot", BTC) == 500
    assert story.refusal(SetPhase(phase=Phase.CANCEL_ONLY)) is Reason.NOT_RECONCILED
    story.do(Crash(), Restart())
    assert story.refusal(SetPhase(phase=Phase.CANCEL_ONLY)) is Reason.NOT_RECONCILED
    # Her payment was broadcast and is included again; her deposit is not, and what lacks is the owner's to cover.
    story.include("alice/w1", "again")
    assert story.held_by("hot", BTC) == 208
    assert story.refusal(SetPhase(phase=Phase.CANCEL_ONLY)) is Reason.NOT_RECONCILED
    cover = CoverShortfall(asset=BTC, amount=Amount(301), transaction="owner-1")
    assert story.refusal(cover) is Reason.AMOUNT_ABOVE_DEBT
    assert story.refusal(replace(cover, amount=Amount(300))) is None
    assert story.refusal(SetPhase(phase=Phase.CANCEL_ONLY)) is None
    story.phases(Phase.POST_ONLY, Phase.OPEN)
    story.do(ConfirmLoad())
    assert [type(event) for event in story.do(Reconcile())] == [Reconciled]
    assert (published(story, BTC).total, story.held_by("hot", BTC)) == (508, 508)


def test_a_deposit_that_is_final_again_is_not_credited_again(engine: Engine) -> None:
    """etc-2019-01: the other half: the deposit comes back in another block, and heals what its loss had broken."""
    story = funded(engine, alice=300, bob=500)
    height = story.view.chains[0].height
    told = story.do(ReportReorganisation(asset=BTC, height=height - 2))
    assert MismatchFound in {type(event) for event in told}
    _, bobs = (event for event in story.runner.steps if isinstance(event, ReportDeposit))
    story.mine(BTC, 3)
    stranger = replace(bobs, client="carol", height=height)
    assert story.refusal(stranger) is Reason.DUPLICATE_DEPOSIT
    assert story.refusal(replace(bobs, amount=Amount(5_000), height=height)) is Reason.DUPLICATE_DEPOSIT
    assert story.refusal(SetPhase(phase=Phase.CANCEL_ONLY)) is Reason.NOT_RECONCILED
    assert story.refusal(replace(bobs, height=height)) is None
    story.mine(BTC, 3)
    assert story.happened(DepositCredited) == 2
    assert (story.amount("bob", Bucket.FREE, BTC), story.held_by("hot", BTC)) == (500, 800)
    story.phases(Phase.CANCEL_ONLY, Phase.POST_ONLY, Phase.OPEN)
    assert story.view.phase is Phase.OPEN


# Payments ---------------------------------------------------------------------------------------------------------


def test_a_payment_whose_transaction_id_changed_is_the_same_payment_and_is_neither_refunded_nor_made_again(
    engine: Engine,
) -> None:
    """mtgox-2014: transaction ids were changed on the way, and payments that had gone out were made again."""
    story = funded(engine, alice=300, bob=500)
    payment = story.approve("alice", "w1", BTC, 200)
    story.sign(payment)

    def nothing_but_paying() -> None:
        assert story.refusal(refunded("w1")) is Reason.WITHDRAWAL_NOT_OPEN
        assert story.refusal(asked("w1", 200)) is Reason.DUPLICATE_WITHDRAWAL
        assert story.refusal(approved("w1")) is Reason.WITHDRAWAL_NOT_OPEN
        assert story.refusal(RestartSigning(payment=payment)) is Reason.PAYMENT_NOT_OPEN

    nothing_but_paying()
    story.broadcast(payment)
    sent = next(event for event in story.told if isinstance(event, PaymentBroadcast))
    nothing_but_paying()
    again = BroadcastPayment(payment=payment)
    assert story.refusal(again) is Reason.PAYMENT_NOT_OPEN
    story.mine(BTC)
    changed = ReportPayment(payment=payment, transaction="f" * 64, height=story.view.chains[0].height)
    assert changed.transaction != sent.transaction
    assert story.refusal(changed) is None
    assert story.refusal(replace(changed, transaction=sent.transaction)) is Reason.PAYMENT_NOT_OPEN
    nothing_but_paying()
    story.do(TakeSnapshot(), RestoreSnapshot(), ConfirmLoad())
    story.mine(BTC, 2)
    assert story.withdrawal("alice", "w1") is WithdrawalStatus.PAID
    nothing_but_paying()
    assert story.refusal(again) is Reason.PAYMENT_NOT_OPEN
    assert story.happened(WithdrawalPaid) == story.happened(PaymentBroadcast) == 1
    assert (story.amount("alice", Bucket.FREE, BTC), story.held_by("hot", BTC)) == (98, 598)
    # One that was refunded before it was signed cannot be signed any more.
    second = story.approve("alice", "w2", BTC, 50)
    story.sign(second, 3)
    share = story.word(second)
    assert story.refusal(refunded("w2")) is None
    assert story.refusal(share) is Reason.PAYMENT_NOT_OPEN
    assert story.refusal(BroadcastPayment(payment=second)) is Reason.PAYMENT_NOT_OPEN
    assert story.amount("alice", Bucket.FREE, BTC) == 98


def interleaved(*sequences: tuple[Act, ...]) -> Iterator[tuple[Act, ...]]:
    """Every order in which these sequences can be mixed, each kept in its own order."""
    if not any(sequences):
        yield ()
        return
    for index, sequence in enumerate(sequences):
        if sequence:
            rest = (*sequences[:index], sequence[1:], *sequences[index + 1 :])
            for tail in interleaved(*rest):
                yield (sequence[0], *tail)


def step(command: Command) -> Act:
    """An act of one command."""
    return lambda story: story.do(command)


def signed(story: Story, withdrawal: str) -> None:
    """The signers say what they have to on a withdrawal of alice's, if it was approved."""
    if story.payment(f"alice/{withdrawal}") is not None:
        story.sign(f"alice/{withdrawal}")


def sent(story: Story, withdrawal: str) -> None:
    """A payment is broadcast, twice, and its chain includes it, if it was ever approved."""
    label = f"alice/{withdrawal}"
    story.do(Burst(commands=(BroadcastPayment(payment=label), BroadcastPayment(payment=label))))
    payment = story.payment(label)
    if payment is not None and payment.status is PaymentStatus.BROADCAST:
        story.include(label)


def whole(withdrawal: str) -> tuple[Act, ...]:
    """A withdrawal of 60 in four acts."""
    return (
        step(asked(withdrawal)),
        step(approved(withdrawal)),
        partial(signed, withdrawal=withdrawal),
        partial(sent, withdrawal=withdrawal),
    )


def in_two(withdrawal: str) -> tuple[Act, ...]:
    """The same in two acts: asked for, and all the rest."""
    first, *rest = whole(withdrawal)
    return (first, lambda story: [act(story) for act in rest])


TWO = tuple(interleaved(whole("w1"), whole("w2")))
WITH_A_REFUND = tuple(interleaved(whole("w1"), (step(refunded("w1")), *in_two("w2"))))
THREE = tuple(interleaved(in_two("w1"), in_two("w2"), in_two("w3")))


def mixed(engine: Engine, orders: tuple[tuple[Act, ...], ...]) -> None:
    """Every mixture of withdrawals of 60 and a fee of 2 out of 100, each from the start: one at most is ever paid."""
    for acts in orders:
        story = funded(engine, alice=100, bob=500)
        for act in acts:
            act(story)
        statuses = [withdrawal.status for withdrawal in story.view.withdrawals]
        paid = statuses.count(WithdrawalStatus.PAID)
        assert paid <= 1
        assert set(statuses) <= {WithdrawalStatus.PAID, WithdrawalStatus.REFUNDED}
        assert story.happened(PaymentBroadcast) == paid
        assert (story.amount("alice", Bucket.FREE, BTC), story.amount("alice", Bucket.HELD, BTC)) == (
            100 - 62 * paid,
            0,
        )
        assert story.held_by("hot", BTC) == 600 - 62 * paid


def test_what_a_tier_promised_to_one_payment_it_does_not_promise_to_another(engine: Engine) -> None:
    """poloniex-2014-03-04: the same in the wallet: two clients have the money, and the hot tier has half of it."""
    story = funded(engine, alice=100, bob=100)
    story.do(FundHouse(account=NETWORK, asset=BTC, amount=Amount(10), transaction="owner-1"))
    story.do(SweepFunds(sweep="s1", asset=BTC, amount=Amount(110), source="hot", target="cold"))
    # What the sweep will take is promised before it is signed, and so is what the first withdrawal will.
    for client in ("alice", "bob"):
        story.do(asked("w1", 60, client))
    story.do(approved("w1"))
    assert story.refusal(approved("w1", "bob")) is Reason.CUSTODY_SHORT
    story.sign("@sweep/s1")
    story.broadcast("@sweep/s1")
    story.include("@sweep/s1")
    assert (story.held_by("hot", BTC), story.held_by("cold", BTC)) == (210 - 112, 110)
    assert story.refusal(approved("w1", "bob")) is Reason.CUSTODY_SHORT
    story.do(refunded("w1"))
    assert story.refusal(approved("w1", "bob")) is None
    story.sign("bob/w1")
    story.broadcast("bob/w1")
    story.include("bob/w1")
    assert (story.held_by("hot", BTC), story.amount("bob", Bucket.FREE, BTC)) == (98 - 62, 38)


def test_a_storm_of_retries_over_a_failover_pays_once_and_trades_once(engine: Engine) -> None:
    """poloniex-2014-03-04: whoever hears nothing asks again: each command is given thrice, once as a primary dies."""
    story = funded(engine, alice=200, bob=200)
    order = story.order(Side.SELL, "bob", "b1", 2, 100)
    replicas = ("n1", "n2")
    commands: list[Command] = [order, asked("w1"), approved("w1")]
    for number, command in enumerate(commands):
        primary, heir = replicas[number % 2], replicas[(number + 1) % 2]
        in_flight = Crash(in_flight=command, point=CrashPoint.AFTER_JOURNAL, replica=primary)
        story.do(in_flight, PromoteReplica(replica=heir), StartReplica(replica=primary))
        for _ in range(2):
            assert story.refusal(command) is not None
    assert story.left("bob", "b1") == 2
    while (payment := story.payment("alice/w1")) is not None and payment.status is not PaymentStatus.SIGNED:
        word = story.word("alice/w1")
        story.do(Burst(commands=(word, word, word)))
        assert story.refusal(word) in {Reason.ALREADY_SAID, Reason.PAYMENT_NOT_OPEN}
    sent(story, "w1")
    for command in (asked("w1"), approved("w1"), refunded("w1"), BroadcastPayment(payment="alice/w1")):
        assert story.refusal(command) is not None
    assert story.happened(PaymentBroadcast) == story.happened(WithdrawalPaid) == 1
    assert (story.amount("alice", Bucket.FREE, BTC), story.held_by("hot", BTC)) == (138, 338)


def test_however_two_withdrawals_over_custody_are_mixed_one_is_paid_once(engine: Engine) -> None:
    """poloniex-2014-03-04: withdrawals that came at once were each checked against the same balance."""
    assert (len(TWO), len(WITH_A_REFUND)) == (70, 35)
    mixed(engine, TWO)
    mixed(engine, WITH_A_REFUND)


def test_however_three_withdrawals_over_custody_are_mixed_one_is_paid_once(engine: Engine) -> None:
    """flexcoin-2014-03-02: thousands of simultaneous requests moved what an account never had."""
    assert len(THREE) == 90
    mixed(engine, THREE)


def test_an_audit_that_finds_less_than_is_owed_says_so_and_trading_stops(engine: Engine) -> None:
    """bitgrail-2018: withdrawals went below zero, and an audit took a total that was negative for balanced."""
    story = funded(engine, alice=100, bob=100)
    for amount in (99, 101, 1_100):
        assert story.refusal(asked(f"w{amount}", amount)) is Reason.INSUFFICIENT_FUNDS
    story.withdraw("alice", "w98", BTC, 98)
    assert story.amount("alice", Bucket.FREE, BTC) == 0
    assert story.refusal(asked("w1", 1)) is Reason.INSUFFICIENT_FUNDS
    assert story.refusal(AttestCustody(tier="hot", asset=BTC, amount=Amount(-8))) is Reason.AMOUNT_NOT_POSITIVE
    assert story.view.phase is Phase.OPEN
    told = story.do(AttestCustody(tier="hot", asset=BTC, amount=Amount(92)))
    assert [event.place for event in told if isinstance(event, MismatchFound)] == ["hot"]
    assert (story.view.phase, story.held_by("hot", BTC)) == (Phase.HALTED, 92)
    assert not any(isinstance(event, Reconciled) for event in story.do(Reconcile()))
    assert story.refusal(SetPhase(phase=Phase.CANCEL_ONLY)) is Reason.NOT_RECONCILED


def test_what_an_audit_finds_in_time_halts_everything_until_it_is_healed(engine: Engine) -> None:
    """bitmex-2023-03-23: its own audit found a difference and halted trading in time: detected, halted, healed."""
    story = funded(engine, alice=300, bob=300)
    story.sell("alice", "a1", 4, 100)
    payment = story.approve("bob", "w1", BTC, 100)
    story.sign(payment, 3)
    before = story.view
    audit = AttestCustody(tier="hot", asset=BTC, amount=Amount(600))
    assert [type(event) for event in story.do(audit)] == [Reconciled]
    assert MismatchFound in {type(event) for event in story.do(replace(audit, amount=Amount(590)))}
    halted = story.view
    assert halted.phase is Phase.HALTED
    assert (halted.balances, halted.orders, halted.payments) == (before.balances, before.orders, before.payments)
    for command in (
        story.order(Side.BUY, "carol", "c1", 1, 100),
        asked("w2", 10),
        story.word(payment),
        refunded("w1", "bob"),
        BroadcastPayment(payment=payment),
        SweepFunds(sweep="s1", asset=BTC, amount=Amount(1), source="hot", target="cold"),
    ):
        assert story.refusal(command) is Reason.PHASE_FORBIDS
    assert story.refusal(SetPhase(phase=Phase.CANCEL_ONLY)) is Reason.NOT_RECONCILED
    # No snapshot, restart or other primary makes the difference go away.
    story.do(TakeSnapshot(), RestoreSnapshot(), PromoteReplica(replica="n2"), Crash(), Restart())
    assert story.refusal(SetPhase(phase=Phase.CANCEL_ONLY)) is Reason.NOT_RECONCILED
    story.do(CoverShortfall(asset=BTC, amount=Amount(10), transaction="owner-1"))
    story.do(ConfirmLoad())
    assert [type(event) for event in story.do(Reconcile())] == [Reconciled]
    story.phases(Phase.CANCEL_ONLY, Phase.POST_ONLY, Phase.OPEN)
    healed = story.view
    assert (healed.balances, healed.orders, healed.payments) == (before.balances, before.orders, before.payments)
    story.sign(payment)
    story.broadcast(payment)
    story.include(payment)
    assert story.withdrawal("bob", "w1") is WithdrawalStatus.PAID


# Ids --------------------------------------------------------------------------------------------------------------


def half_signed(engine: Engine) -> Story:
    """Alice's withdrawal of bitcoin with one of two shares, and bob's of dollars with one of two commitments."""
    story = funded(engine, alice=300)
    story.deposit("bob", USD=1_000)
    story.do(FundHouse(account=NETWORK, asset=BTC, amount=Amount(10), transaction="owner-1"))
    story.sign(story.approve("alice", "w1", BTC, 60), 3)
    story.sign(story.approve("bob", "w2", USD, 200), 1)
    story.do(asked("w3", 20))
    story.mine(BTC)
    return story


def share(story: Story) -> SubmitShare:
    """The share that alice's payment lacks."""
    word = story.word("alice/w1")
    assert isinstance(word, SubmitShare)
    return word


def commitment(story: Story) -> CommitNonce:
    """The commitment that bob's payment lacks."""
    word = story.word("bob/w2")
    assert isinstance(word, CommitNonce)
    return word


def signed_by_all(story: Story) -> BroadcastPayment:
    """The broadcast of alice's payment, which is signed."""
    story.sign("alice/w1")
    return BroadcastPayment(payment="alice/w1")


def included(story: Story) -> ReportPayment:
    """The report of alice's payment, which was broadcast."""
    story.sign("alice/w1")
    story.broadcast("alice/w1")
    return ReportPayment(payment="alice/w1", transaction="t1", height=story.view.chains[0].height)


def arrived(story: Story) -> ReportDeposit:
    """The report of a deposit, in a block that the chain of dollars does not have yet."""
    return story.arrival("bob", BTC, 40)


SWEEP = SweepFunds(sweep="s1", asset=BTC, amount=Amount(50), source="hot", target="cold")
UNKNOWN_PAYMENT = Reason.UNKNOWN_PAYMENT


VARIED: dict[str, tuple[Callable[[Story], Command], dict[tuple[str, object], Reason]]] = {
    "approve": (
        lambda _: approved("w3"),
        {
            ("client", "bob"): Reason.UNKNOWN_WITHDRAWAL,
            ("client", "mallory"): Reason.UNKNOWN_WITHDRAWAL,
            ("withdrawal", "w1"): Reason.WITHDRAWAL_NOT_OPEN,
            ("withdrawal", "w2"): Reason.UNKNOWN_WITHDRAWAL,
        },
    ),
    "refund": (
        lambda _: refunded("w1"),
        {
            ("client", "bob"): Reason.UNKNOWN_WITHDRAWAL,
            ("client", "mallory"): Reason.UNKNOWN_WITHDRAWAL,
            ("withdrawal", "w2"): Reason.UNKNOWN_WITHDRAWAL,
        },
    ),
    "request": (
        lambda _: asked("w4", 20),
        {
            ("client", "bob"): Reason.INSUFFICIENT_FUNDS,
            ("client", "mallory"): Reason.UNKNOWN_CLIENT,
            ("asset", USD): Reason.INSUFFICIENT_FUNDS,
            ("asset", "DOGE"): Reason.UNKNOWN_ASSET,
            ("withdrawal", "w1"): Reason.DUPLICATE_WITHDRAWAL,
        },
    ),
    "commit": (
        commitment,
        {
            ("payment", "alice/w1"): Reason.PAYMENT_NOT_OPEN,
            ("payment", "alice/w3"): UNKNOWN_PAYMENT,
            ("payment", "bob/w1"): UNKNOWN_PAYMENT,
            ("signer", "h1"): Reason.ALREADY_SAID,
            ("signer", "h3"): Reason.COMMITMENT_INVALID,
            ("signer", "c1"): Reason.UNKNOWN_SIGNER,
            ("commitment", "00" * 40): Reason.COMMITMENT_INVALID,
        },
    ),
    "share": (
        share,
        {
            ("payment", "bob/w2"): Reason.PAYMENT_NOT_OPEN,
            ("payment", "bob/w1"): UNKNOWN_PAYMENT,
            ("signer", "h1"): Reason.ALREADY_SAID,
            ("signer", "h3"): Reason.SIGNER_NOT_ASKED,
            ("signer", "c1"): Reason.SIGNER_NOT_ASKED,
            ("share", "00" * 32): Reason.SHARE_INVALID,
        },
    ),
    "restart": (
        lambda _: RestartSigning(payment="alice/w1"),
        {("payment", "bob/w1"): UNKNOWN_PAYMENT, ("payment", "alice/w3"): UNKNOWN_PAYMENT},
    ),
    "broadcast": (
        signed_by_all,
        {
            ("payment", "bob/w2"): Reason.PAYMENT_NOT_OPEN,
            ("payment", "alice/w2"): UNKNOWN_PAYMENT,
            ("payment", "@sweep/s1"): UNKNOWN_PAYMENT,
        },
    ),
    "include": (
        included,
        {
            ("payment", "bob/w2"): Reason.PAYMENT_NOT_OPEN,
            ("payment", "bob/w1"): UNKNOWN_PAYMENT,
            ("height", 99): Reason.HEIGHT_AHEAD,
        },
    ),
    "deposit": (
        arrived,
        {
            ("client", "mallory"): Reason.UNKNOWN_CLIENT,
            ("asset", USD): Reason.HEIGHT_AHEAD,
            ("asset", "DOGE"): Reason.UNKNOWN_ASSET,
            ("transaction", "deposit-1"): Reason.DUPLICATE_DEPOSIT,
            ("height", 99): Reason.HEIGHT_AHEAD,
        },
    ),
    "sweep": (
        lambda _: SWEEP,
        {
            ("asset", USD): Reason.INSUFFICIENT_FUNDS,
            ("asset", "DOGE"): Reason.UNKNOWN_ASSET,
            ("source", "cold"): Reason.TRANSFER_ILLEGAL,
            ("target", "hot"): Reason.TRANSFER_ILLEGAL,
            ("source", "warm"): Reason.UNKNOWN_TIER,
            ("target", "warm"): Reason.UNKNOWN_TIER,
            ("target", "alice"): Reason.UNKNOWN_TIER,
        },
    ),
    "attest": (
        lambda _: AttestCustody(tier="hot", asset=BTC, amount=Amount(300)),
        {("tier", "warm"): Reason.UNKNOWN_TIER, ("asset", "DOGE"): Reason.UNKNOWN_ASSET},
    ),
    "provider": (
        lambda _: SetProvider(asset=BTC, up=False),
        {("asset", "DOGE"): Reason.UNKNOWN_ASSET},
    ),
}
"""By what it does: a command, and what is answered to it with another id in one place."""


@pytest.mark.parametrize("name", list(VARIED))
def test_of_every_command_of_custody_each_id_is_checked_on_its_own(engine: Engine, name: str) -> None:
    """coinbase-api-2022-02-11: the amount of a sale was checked, and that it was of the asset sold was not."""
    story = half_signed(engine)
    make, varied = VARIED[name]
    command = make(story)
    before = story.view
    for (field, other), reason in varied.items():
        assert getattr(command, field) != other
        assert story.refusal(replace(command, **{field: other})) is reason, (field, other)
    after = story.view
    for what in ("balances", "custody", "withdrawals", "payments", "deposits", "chains"):
        assert getattr(after, what) == getattr(before, what)
    # As it stands it is taken, so that it was the id that was refused.
    assert not any(isinstance(event, Rejected) for event in story.do(command))


def each_id_of(name: str) -> Told:
    """The story of the ids of one command."""
    return lambda engine: test_of_every_command_of_custody_each_id_is_checked_on_its_own(engine, name)


@pytest.mark.parametrize(
    ("fault", "told"),
    [
        ("deposit-credited-to-another", test_what_is_credited_is_what_came_in_and_what_is_owed_is_what_is_there),
        ("final-too-early", test_a_deposit_is_nobodys_money_before_its_chain_has_confirmed_it),
        (
            "client-left-out-of-tree",
            test_a_chain_that_undoes_what_was_withdrawn_halts_the_venue,
        ),
        (
            "nonces-forgotten-by-restore",
            test_what_an_audit_finds_in_time_halts_everything_until_it_is_healed,
        ),
        (
            "mismatch-unnoticed",
            test_what_an_audit_finds_in_time_halts_everything_until_it_is_healed,
        ),
        (
            "mismatch-without-halt",
            test_what_an_audit_finds_in_time_halts_everything_until_it_is_healed,
        ),
        ("intent-changed-after-approval", test_a_storm_of_retries_over_a_failover_pays_once_and_trades_once),
        ("signer-counted-twice", each_id_of("share")),
        ("forged-share-accepted", each_id_of("share")),
    ],
)
def test_a_planted_fault_in_a_story_of_custody_is_caught_by_an_invariant(
    fault: str, told: Told, violated: Callable[[str, Told], None]
) -> None:
    violated(fault, told)


class _ApprovesForAnybody(Venue):
    def _decide_approval(self, command: ApproveWithdrawal) -> None:
        owner = next(
            (client for client, withdrawal in self.withdrawals if withdrawal == command.withdrawal), command.client
        )
        super()._decide_approval(replace(command, client=owner))


class _TakesCommitmentsOfAnybody(Venue):
    def commitment_valid(self, payment: OutgoingPayment, signer: SignerId, commitment: Hex) -> bool:  # noqa: ARG002 - the fault
        return True


class _KnowsNoTiers(Venue):
    def _sweep_refusal(self, command: SweepFunds) -> Reason | None:
        known = {"source": "hot", "target": "cold"}
        named = {field: name for field, name in known.items() if getattr(command, field) not in self.tier_rules}
        return super()._sweep_refusal(replace(command, **named))


@pytest.mark.parametrize(
    ("venue", "name"),
    [(_ApprovesForAnybody, "approve"), (_TakesCommitmentsOfAnybody, "commit"), (_KnowsNoTiers, "sweep")],
)
def test_with_an_id_that_is_not_checked_the_story_does_not_get_to_its_end(
    venue: type[Venue], name: str, told_in_vain: Callable[[Parts, Told], None]
) -> None:
    told_in_vain(Parts(venue=venue), each_id_of(name))
