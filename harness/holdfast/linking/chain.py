"""The chain and its provider, as the link plays them: outside of the exchange, and not changed by anything in it."""

from dataclasses import dataclass, field


@dataclass(frozen=True)
class Sent:
    """What a client sent to the exchange."""

    client: str
    asset: str
    amount: int


@dataclass
class Chain:
    """One chain for all assets; blocks are numbered from 1, and height 0 is in no block."""

    tip: int = 1
    fork: int = 0
    """The lowest block that was replaced since the provider last told of one; 0 is none."""
    provider_up: bool = True
    sent: dict[str, Sent] = field(default_factory=dict)
    deposits: dict[str, int] = field(default_factory=dict)
    """The block of each deposit that was sent."""
    payments: dict[str, int] = field(default_factory=dict)
    """The block of each payment that was ever included."""
    changed: dict[str, bool] = field(default_factory=dict)
    """Whether a payment is included under another transaction id than it was broadcast with."""

    def mine(self) -> None:
        """The chain grows."""
        self.tip += 1

    def send(self, deposit: str, sent: Sent) -> None:
        """A deposit is in the newest block."""
        self.sent[deposit] = sent
        self.deposits[deposit] = self.tip

    def include_deposit(self, deposit: str) -> None:
        """A deposit whose block was replaced is in the newest block."""
        self.deposits[deposit] = self.tip

    def include_payment(self, payment: str, *, changed: bool) -> None:
        """A payment is in the newest block."""
        self.payments[payment], self.changed[payment] = self.tip, changed

    def replace(self, height: int) -> None:
        """The blocks from this height on are replaced by none."""
        for known in (self.deposits, self.payments):
            for name, at in known.items():
                known[name] = 0 if at >= height else at
        self.fork = height if not self.fork else min(self.fork, height)
        self.tip = height - 1
