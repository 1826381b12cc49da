"""What every command and every event is: frozen, with its name in the field `type` on the wire."""

from msgspec import Struct


class CommandBase(Struct, frozen=True, kw_only=True, tag_field="type", forbid_unknown_fields=True, gc=False):
    """The base of all commands."""


class EventBase(Struct, frozen=True, kw_only=True, tag_field="type", forbid_unknown_fields=True, gc=False):
    """The base of all events."""
