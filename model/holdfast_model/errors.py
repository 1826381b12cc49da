"""The exceptions that Holdfast raises for bad input. A bug of ours is an `assert`, a refusal by a venue a value."""


class HoldfastError(Exception):
    """Something the user gave is wrong; the message says what, where, and what was expected. Exit status 2."""


class SpecError(HoldfastError):
    """A spec is not well formed; the message names the file, the line and the construct."""


class InconclusiveError(Exception):
    """Something outside prevented a conclusion (an engine that could not be started, say). Exit status 3."""
