"""A Hypothesis machine for everything at once: margin, operations and custody on one exchange."""

from typing import ClassVar

from holdfast.custody_machine import CustodyMachine
from holdfast.operations_machine import OperationsMachine
from holdfast.setups import WHOLE_SETUP
from holdfast_model.vocabulary import Setup


class WholeMachine(OperationsMachine, CustodyMachine):
    """All rules of the others on one exchange, where each may fall into the middle of what another began.

    It finds what lies between the parts; what lies in one of them, the machine of that part finds with less work.
    """

    setup: ClassVar[Setup] = WHOLE_SETUP

    def endow(self) -> None:
        """What margin and what custody have from the start."""
        CustodyMachine.endow(self)
        super().endow()
