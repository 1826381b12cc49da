"""The plain machine with the commands of custody: chains, payments, and signers who say what their software says."""

from benchmarks.plain_machine import AMOUNTS, IDS, ONE, PlainMachine, anywhere
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, rule

from holdfast_model.vocabulary import (
    SWEEP_PREFIX,
    Amount,
    ApproveWithdrawal,
    AttestCustody,
    BroadcastPayment,
    CoverShortfall,
    PublishLiabilities,
    Reconcile,
    ReportPayment,
    ReportReorganisation,
    RestartSigning,
    SetProvider,
    SuspendAsset,
    SweepFunds,
)
from holdfast_model.vocabulary.amounts import Label


class PlainCustodyMachine(PlainMachine):
    """Drives one exchange with custody by independent commands."""

    payments: Bundle[Label] = Bundle("payments")

    def _tier(self, number: int) -> str:
        assert self.setup.custody is not None
        tiers = self.setup.custody.tiers
        return tiers[number % len(tiers)].tier

    @anywhere
    @rule(asset=ONE, blocks=st.integers(0, 3))
    def report_block(self, asset: int, blocks: int) -> None:
        """A chain grows."""
        self._mine(self._asset(asset), blocks)

    @anywhere
    @rule(client=ONE, asset=ONE, amount=AMOUNTS, number=IDS)
    def report_deposit(self, client: int, asset: int, amount: int, number: int) -> None:
        """A deposit is in the last block."""
        self._report_deposit(self._client(client), self._asset(asset), amount, f"d{number}")

    @anywhere
    @rule(asset=ONE, blocks=st.integers(0, 4))
    def reorganise(self, asset: int, blocks: int) -> None:
        """A chain loses its last blocks."""
        name = self._asset(asset)
        self.heights[name] = max(0, self.heights[name] - blocks)
        self.do(ReportReorganisation(asset=name, height=self.heights[name] + 1))

    @anywhere
    @rule(payment=payments, number=IDS, asset=ONE)
    def report_payment(self, payment: Label, number: int, asset: int) -> None:
        """A payment is in the last block of a chain."""
        height = self.heights[self._asset(asset)]
        self.do(ReportPayment(payment=payment, transaction=f"x{number}", height=height))

    @anywhere
    @rule(asset=ONE, up=st.booleans())
    def set_provider(self, *, asset: int, up: bool) -> None:
        """The connection to a chain is there, or is not."""
        self.do(SetProvider(asset=self._asset(asset), up=up))

    @anywhere
    @rule(tier=ONE, asset=ONE, amount=AMOUNTS)
    def attest(self, tier: int, asset: int, amount: int) -> None:
        """What a tier holds was looked up."""
        self.do(AttestCustody(tier=self._tier(tier), asset=self._asset(asset), amount=Amount(amount)))

    @anywhere
    @rule(target=payments, withdrawal=PlainMachine.withdrawals)
    def approve(self, withdrawal: tuple[str, str]) -> Label:
        """A withdrawal is approved."""
        self.do(ApproveWithdrawal(client=withdrawal[0], withdrawal=withdrawal[1]))
        return "/".join(withdrawal)

    @anywhere
    @rule(target=payments, number=IDS, asset=ONE, amount=AMOUNTS, source=ONE, to=ONE)
    def sweep(self, number: int, asset: int, amount: int, source: int, to: int) -> Label:
        """Funds move between tiers."""
        name = f"s{number}"
        self.do(
            SweepFunds(
                sweep=name,
                asset=self._asset(asset),
                amount=Amount(amount),
                source=self._tier(source),
                target=self._tier(to),
            )
        )
        return SWEEP_PREFIX + name

    @anywhere
    @rule(payment=payments)
    def signer_speaks(self, payment: Label) -> None:
        """A signer of a payment says the next thing that it has to say, a commitment or a share."""
        parties = self.runner.known.parties
        said = parties.next_to_say(payment) if parties is not None else None
        if said is not None:
            self.do(said)

    @anywhere
    @rule(payment=payments)
    def restart_signing(self, payment: Label) -> None:
        """An attempt to sign is given up."""
        self.do(RestartSigning(payment=payment))

    @anywhere
    @rule(payment=payments)
    def broadcast(self, payment: Label) -> None:
        """A payment is handed to its chain."""
        self.do(BroadcastPayment(payment=payment))

    @anywhere
    @rule(asset=ONE, deposits=st.booleans(), withdrawals_open=st.booleans())
    def suspend(self, *, asset: int, deposits: bool, withdrawals_open: bool) -> None:
        """Deposits and withdrawals of an asset are opened or closed."""
        name = self._asset(asset)
        self.do(SuspendAsset(asset=name, deposits_open=deposits, withdrawals_open=withdrawals_open))

    @anywhere
    @rule()
    def reconcile(self) -> None:
        """Ledger and custody are compared."""
        self.do(Reconcile())

    @anywhere
    @rule(asset=ONE, amount=AMOUNTS, number=IDS)
    def cover(self, asset: int, amount: int, number: int) -> None:
        """The owner pays in what custody lacks."""
        self.do(CoverShortfall(asset=self._asset(asset), amount=Amount(amount), transaction=f"c{number}"))

    @anywhere
    @rule(asset=ONE)
    def publish(self, asset: int) -> None:
        """Liabilities are published."""
        self.do(PublishLiabilities(asset=self._asset(asset)))
