"""Random histories of everything that chains, signers and operators may say, in any order."""

from collections import Counter
from collections.abc import Callable
from random import Random

import pytest
from msgspec.structs import replace

from holdfast.setups import CUSTODY_SETUP
from holdfast.signing_parties import SigningParties
from holdfast_engine.exchange import Exchange
from holdfast_engine.state import DepositStatus, state_sha256
from holdfast_engine.storage import MemoryStorage
from holdfast_engine.venue import Venue
from holdfast_model.vocabulary import (
    NETWORK,
    OUTSIDE,
    AdvanceTime,
    Amount,
    ApproveWithdrawal,
    AttestCustody,
    BroadcastPayment,
    Bucket,
    Command,
    CoverShortfall,
    DepositCredited,
    Event,
    FundHouse,
    PaymentBroadcast,
    Phase,
    PublishLiabilities,
    Reconcile,
    RefundWithdrawal,
    Rejected,
    ReportBlock,
    ReportDeposit,
    ReportPayment,
    ReportReorganisation,
    RequestWithdrawal,
    RestartSigning,
    SetPhase,
    SetProvider,
    SuspendAsset,
    SweepCompleted,
    SweepFunds,
    WithdrawalPaid,
    WithdrawalRefunded,
)

SETUP = replace(CUSTODY_SETUP, procedure=False)
STEPS = 2_000


class History:
    """A venue, its signers, and a source of commands that are often legal and sometimes not."""

    def __init__(self, seed: int) -> None:
        self.random = Random(seed)  # noqa: S311 - reproducible, not secret
        self.parties = SigningParties(SETUP)
        self.storage = MemoryStorage()
        self.exchange = Exchange(self.storage)
        self.exchange.reset(SETUP)
        self.told: list[tuple[Event, ...]] = []
        self.number = 0

    @property
    def venue(self) -> Venue:
        """The primary's state, rebuilt from what was told."""
        return self.exchange._primary

    def submit(self, command: Command) -> tuple[Event, ...]:
        """The answer, which the signers hear."""
        (answer,) = self.exchange.submit([command])
        self.parties.hear(answer.events)
        self.told.append(answer.events)
        return answer.events

    def command(self) -> Command:
        """The next command."""
        random, venue = self.random, self.venue
        self.number += 1
        asset = random.choice(("BTC", "USD"))
        height = venue.chains[asset].height
        client = random.choice(SETUP.clients)
        under_way = [item.intent.payment for item in venue.payments_under_way()]
        payment = random.choice([*under_way, *under_way, *under_way, *venue.payments, "nobody/w"])
        key = random.choice([*list(venue.withdrawals)[-4:], ("alice", "w")])
        amount = Amount(random.randint(1, 900))
        name = f"n{random.randint(self.number - 20, self.number)}"
        near = max(0, height - random.randint(0, 4))
        makers: list[tuple[int, Callable[[], Command]]] = [
            (8, lambda: ReportBlock(asset=asset, height=height + random.randint(1, 2))),
            (
                6,
                lambda: ReportDeposit(
                    asset=asset, transaction=name, client=client, amount=Amount(amount * 5), height=near
                ),
            ),
            (1, lambda: ReportReorganisation(asset=asset, height=near)),
            (6, lambda: ReportPayment(payment=payment, transaction=name, height=near)),
            (1, lambda: SetProvider(asset=asset, up=random.random() < 0.8)),
            (
                1,
                lambda: SuspendAsset(
                    asset=asset, deposits_open=random.random() < 0.7, withdrawals_open=random.random() < 0.7
                ),
            ),
            (
                4,
                lambda: RequestWithdrawal(
                    client=client, withdrawal=name, asset=asset, amount=amount, destination="x"
                ),
            ),
            (5, lambda: ApproveWithdrawal(client=key[0], withdrawal=key[1])),
            (1, lambda: RefundWithdrawal(client=key[0], withdrawal=key[1])),
            (14, lambda: self.parties.next_to_say(payment) or Reconcile()),
            (1, lambda: RestartSigning(payment=payment)),
            (6, lambda: BroadcastPayment(payment=payment)),
            (2, self.sweep),
            (2, lambda: FundHouse(account=NETWORK, asset=asset, amount=Amount(90), transaction=name)),
            (1, lambda: AdvanceTime(time_ms=venue.time_ms + random.randint(1, 40_000))),
            (1, lambda: PublishLiabilities(asset=asset)),
            (1, lambda: SetPhase(phase=random.choice(tuple(Phase)))),
        ]
        weights, choices = zip(*makers, strict=True)
        make: Callable[[], Command] = random.choices(choices, weights)[0]
        return make()

    def sweep(self) -> SweepFunds:
        """A sweep one way or the other, or from a tier to itself."""
        tiers = ("hot", "cold")
        return SweepFunds(
            sweep=f"s{self.number}",
            asset=self.random.choice(("BTC", "USD")),
            amount=Amount(self.random.randint(1, 900)),
            source=self.random.choice(tiers),
            target=self.random.choice(tiers),
        )

    def heal(self) -> None:
        """Bring custody to what the ledger expects, and trading back."""
        for asset in SETUP.assets:
            gap = self.venue.gap(asset)
            if gap > 0:
                holds = self.venue.tier_holds("hot", asset)
                self.submit(AttestCustody(tier="hot", asset=asset, amount=Amount(max(0, holds - gap))))
            if gap < 0:
                self.submit(CoverShortfall(asset=asset, amount=Amount(-gap), transaction=f"c{self.number}{asset}"))
        self.submit(SetPhase(phase=Phase.CANCEL_ONLY))
        self.submit(SetPhase(phase=Phase.POST_ONLY))
        self.submit(SetPhase(phase=Phase.OPEN))


def check(venue: Venue) -> None:
    """What holds after every command."""
    for asset in SETUP.assets:
        outside = venue.ledger.amount(OUTSIDE, Bucket.FREE, asset)
        assert venue.phase is Phase.HALTED or venue.tier_totals.get(asset, 0) == -outside
        known = [item for item in venue.chain_deposits.values() if item.asset == asset]
        waiting = sum(item.amount for item in known if item.entered and not item.credited)
        assert venue.ledger.amount("@arriving", Bucket.FREE, asset) == waiting
        assert [item.status for item in known].count(DepositStatus.FINAL) == sum(
            1 for of, _ in venue.arrivals if of == asset
        )


@pytest.mark.parametrize("seed", range(6))
def test_whatever_is_said_custody_and_ledger_agree_or_the_venue_is_halted(seed: int) -> None:
    history = History(seed)
    for step in range(STEPS):
        history.submit(history.command())
        check(history.venue)
        if step % 20 == 19:
            history.heal()
    view = history.exchange.view()
    tiers = {(item.tier, item.asset): item.amount for item in view.custody}
    assert tiers == {place: amount for place, amount in history.venue.tiers.items() if amount}
    again = Venue(SETUP)
    for events in history.told:
        again.replay(events)
    assert state_sha256(again.state()) == state_sha256(history.venue.state())
    assert Exchange(history.storage).view() == replace(view, ingress_depth_max=0)


def test_the_histories_here_reach_what_they_are_for() -> None:
    told: Counter[str] = Counter()
    for seed in range(6):
        history = History(seed)
        for step in range(STEPS):
            history.submit(history.command())
            if step % 20 == 19:
                history.heal()
        told.update(type(event).__name__ for events in history.told for event in events)
        ended = [
            (type(event), event.client, event.withdrawal)
            for events in history.told
            for event in events
            if isinstance(event, WithdrawalPaid | WithdrawalRefunded)
        ]
        assert len({key[1:] for key in ended}) == len(ended)
    for wanted in (
        DepositCredited,
        PaymentBroadcast,
        SweepCompleted,
        WithdrawalPaid,
        WithdrawalRefunded,
        Rejected,
    ):
        assert told[wanted.__name__] > 10, told
    for name in ("MismatchFound", "ChainReorganised", "ShortfallCovered", "SigningRestarted", "LiabilitiesPublished"):
        assert told[name] > 3, told
