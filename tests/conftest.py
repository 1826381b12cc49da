"""What all tests share."""

import signal


def pytest_configure() -> None:
    """An interrupt interrupts what tests start, also in the background of a shell, which has it ignored."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)
