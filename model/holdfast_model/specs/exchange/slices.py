"""Slices of the exchange: classes made of parts, by the names of the parts.

A slice has the actions and properties of its parts; where two parts meet, also what only both together can show
(`MEETINGS`). Its engine and commands are records with the fields of all parts.
"""

from collections.abc import Sequence
from functools import cache
from typing import Any

from holdfast_model.errors import HoldfastError
from holdfast_model.spec import Part
from holdfast_model.specs.exchange.custody import Custody
from holdfast_model.specs.exchange.ledger import DEFAULTS, Exchange, Funds
from holdfast_model.specs.exchange.margin import Margin
from holdfast_model.specs.exchange.meetings import MEETINGS
from holdfast_model.specs.exchange.operations import Phased, Procedure, Recovery, Replication, Slot, Standby, Surge
from holdfast_model.specs.exchange.trading import Trading

PARTS: dict[str, type[Exchange]] = {
    "trading": Trading,
    "margin": Margin,
    "custody": Custody,
    "phases": Phased,
    "recovery": Recovery,
    "maintenance": Procedure,
    "replication": Replication,
    "surge": Surge,
}
"""The parts by name, in the order in which a slice's name lists them."""


SLICES: dict[str, dict[str, int]] = {
    "trading": {"amounts": 2},
    "margin": {"assets": 1, "amounts": 3, "prices": 3},
    "custody": {"accounts": 1, "assets": 1},
    "maintenance": {},
    "replication": {"accounts": 1, "assets": 1},
    "surge": {"accounts": 1, "assets": 1, "capacity": 2},
    "trading+phases+recovery": {"amounts": 2},
    "trading+maintenance": {},
    "trading+replication": {"faults": 1},
    "margin+maintenance": {"assets": 1, "amounts": 2, "products": 1, "faults": 1},
    "custody+recovery": {"accounts": 1, "assets": 1, "faults": 2, "signers": 2},
    "custody+maintenance": {
        "accounts": 1,
        "assets": 1,
        "faults": 2,
        "signers": 2,
        "nonces": 1,
        "blocks": 2,
    },
    "custody+replication": {
        "accounts": 1,
        "assets": 1,
        "faults": 2,
        "signers": 2,
        "nonces": 1,
        "blocks": 2,
    },
    "maintenance+replication": {"accounts": 1, "assets": 1, "faults": 2},
    "replication+surge": {"accounts": 1, "assets": 1, "faults": 2, "requests": 1},
}
"""The slices that a search visits whole within seconds, and the sizes at which it does where they are not usual."""

WHOLE = {"deposits": 2}
"""The sizes of the whole exchange where they are not usual: two assets must have come in before orders can trade."""

IMPLIED = {"recovery": {"maintenance", "replication"}, "phases": {"maintenance"}}
"""Parts that come with others."""


def part_names(text: str) -> tuple[str, ...]:
    """The parts that a slice's name lists, in their order; `all` means all of them. HoldfastError for others."""
    given = list(PARTS) if text == "all" else text.split("+")
    for name in given:
        if name not in PARTS:
            raise HoldfastError(f"slice {text!r} has no part {name!r}; expected some of: {', '.join(PARTS)}, or all")
    return tuple(name for name in PARTS if name in given)


def slice_name(names: tuple[str, ...]) -> str:
    """The name of the slice with these parts."""
    return "all" if names == tuple(PARTS) else "+".join(names)


def make_slice(names: tuple[str, ...], *, bug: str = "", **parameters: int) -> Exchange:
    """The slice with these parts. Without custody, an operator enters deposits and withdrawals."""
    return slice_class(names)(bug=bug, **{**sizes_of(names), **parameters})


def parts_present(names: tuple[str, ...]) -> set[str]:
    """The parts of a slice, those included that come with others."""
    return set(names) | {name for name, implied in IMPLIED.items() if set(names) & implied}


@cache
def slice_class(names: tuple[str, ...]) -> type[Exchange]:
    """The class of the slice with these parts."""
    present = parts_present(names)
    bases = [meeting for pair, meeting in MEETINGS.items() if pair <= present]
    bases += [PARTS[name] for name in reversed(PARTS) if name in names]
    bases += [] if "custody" in names else [Funds]
    engine = type("SliceEngine", _narrowest([base.engine_record for base in bases]), {})
    command = type("SliceCommand", _narrowest([base.command_record for base in bases]), {})
    for classes in (bases, [base.engine_record for base in bases], [base.command_record for base in bases]):
        assert not _shared(classes), "parts share no name that neither has from a part that both extend"
    fields: dict[str, object] = {"engine_record": engine, "command_record": command, "live": Part(engine)}
    if "recovery" in present:
        fields |= {"snapshot_taken": Part(engine), "log": Part(command).per(Slot)}
    if "replication" in present:
        fields["replica"] = Part(engine).per(Standby)
    return type("_".join(names), _narrowest(bases), fields)


def _narrowest(classes: Sequence[type[Any]]) -> tuple[type[Any], ...]:
    """The classes without repetitions, and without those of which another is a subclass."""
    return tuple(
        each
        for each in dict.fromkeys(classes)
        if not any(other is not each and issubclass(other, each) for other in classes)
    )


def sizes_of(names: tuple[str, ...]) -> dict[str, int]:
    """The sizes of a slice where nothing else is said."""
    own = WHOLE if names == tuple(PARTS) else SLICES.get(slice_name(names), {})
    return {**DEFAULTS, **own}


def _shared(classes: Sequence[type[Any]]) -> set[str]:
    """The names that two classes define although no class that both extend declares them."""
    owners: dict[str, list[type[Any]]] = {}
    shared: set[str] = set()
    for each in dict.fromkeys(base for one in classes for base in one.__mro__):
        for name in vars(each):
            if name.startswith("__") or name == "_fields":
                continue
            for other in owners.setdefault(name, []):
                common = set(each.__mro__) & set(other.__mro__)
                if not any(name in vars(base) for base in common):
                    shared.add(name)
            owners[name].append(each)
    return shared
