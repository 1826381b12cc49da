"""The models that ship with Holdfast, by name. Loading one stages nothing and needs neither z3 nor numpy."""

from collections.abc import Callable
from dataclasses import dataclass

from holdfast_model.errors import HoldfastError
from holdfast_model.spec import Model, Spec
from holdfast_model.spec.model import invariants_of
from holdfast_model.specs.exchange import (
    DEFAULTS,
    PARTS,
    SLICES,
    make_slice,
    part_names,
    parts_present,
    sizes_of,
    slice_class,
    slice_name,
)
from holdfast_model.specs.planted import EXCHANGE_BUGS, PlantedBug
from holdfast_model.specs.yardstick import Yardstick

SPOT = "trading+phases+recovery"
"""The slice that `spot` is, and that `exchange` is where none is given."""

FORMULA_SLICES = (
    "exchange:slice=trading+maintenance",
    "exchange:slice=custody+recovery,signers=3",
    "exchange:slice=margin+maintenance,products=2",
    "exchange:slice=replication+surge,requests=2",
)
"""The slices that together have every formula of the exchange, the largest first."""


@dataclass(frozen=True, slots=True)
class ModelParameter:
    """A whole number that a model can be loaded with, `least` and `greatest` included."""

    name: str
    sentence: str
    default: int
    least: int
    greatest: int


@dataclass(frozen=True, slots=True)
class ModelEntry:
    """What there is to know about a model before loading it.

    `spec` has every action and property that the model can have. A model with `slices` takes `slice=PART[+PART...]`
    or `slice=all`, of the parts listed; `slices` are those that a search visits whole as they stand.
    """

    name: str
    sentence: str
    parameters: tuple[ModelParameter, ...]
    bugs: tuple[PlantedBug, ...]
    spec: type[Spec]
    make: Callable[..., Spec]
    parts: tuple[str, ...] = ()
    slices: tuple[str, ...] = ()

    @property
    def invariants(self) -> tuple[str, ...]:
        """The catalogue ids that the model has formulas for, in the order written."""
        return invariants_of(self.spec)


_SIZES = {
    "accounts": ("How many clients there are.", 64),
    "amounts": ("The limit of amounts and sizes in a search; proofs have none.", 50),
    "assets": ("How many assets a search deposits: both, or USDT only.", 2),
    "faults": ("How many faults a search has; 0 is as many as there can be.", 16),
    "orders": ("How many orders can be placed in all.", 64),
    "log": ("How many commands fit in the log between two snapshots.", 4),
    "deposits": ("How many deposits can be sent in all.", 4),
    "payments": ("How many withdrawals can be requested in all.", 4),
    "signers": ("How many signers there are.", 7),
    "threshold": ("How many of them sign a payment.", 7),
    "confirmations": ("How many confirmations make a transaction final.", 6),
    "blocks": ("How high the chain grows in a search.", 12),
    "nonces": ("How many nonces a signer makes in a search.", 12),
    "standbys": ("How many replicas there are besides the primary.", 6),
    "epochs": ("The last epoch of a search.", 12),
    "products": ("How many isolated products there are.", 4),
    "lots": ("The largest position of a search.", 8),
    "prices": ("The highest price of a position in a search; proofs have no limit.", 50),
    "requests": ("How many orders go through the queue.", 8),
    "capacity": ("How many requests the queue holds.", 8),
}
"""Each size of the exchange: what it says, and its greatest value."""


def _sizes(*names: str, **defaults: int) -> tuple[ModelParameter, ...]:
    return tuple(
        ModelParameter(
            name, _SIZES[name][0], defaults.get(name, DEFAULTS[name]), 0 if name == "faults" else 1, _SIZES[name][1]
        )
        for name in names
    )


def _spot(*, bug: str = "", **parameters: int) -> Spec:
    return make_slice(part_names(SPOT), bug=bug, **parameters)


def _exchange(*, slice: str = SPOT, bug: str = "", **parameters: int) -> Spec:  # noqa: A002 - the parameter's name
    return make_slice(part_names(slice), bug=bug, **parameters)


_MODELS = (
    ModelEntry(
        name="spot",
        sentence="A spot exchange with unbounded amounts, partial fills, phases, snapshot, crash and restore.",
        parameters=_sizes("accounts", "orders", "log", "amounts", amounts=sizes_of(part_names(SPOT))["amounts"]),
        bugs=tuple(bug for bug in EXCHANGE_BUGS if set(part_names(bug.slice)) <= set(part_names(SPOT))),
        spec=slice_class(part_names(SPOT)),
        make=_spot,
    ),
    ModelEntry(
        name="exchange",
        sentence="The whole exchange, or a slice of it: trading, margin, custody and operations.",
        parameters=_sizes(*_SIZES),
        bugs=EXCHANGE_BUGS,
        spec=slice_class(part_names("all")),
        make=_exchange,
        parts=tuple(PARTS),
        slices=tuple(SLICES),
    ),
    ModelEntry(
        name="yardstick",
        sentence="A small exchange with snapshot, log, crash and restore, on which model checkers are compared.",
        parameters=(
            ModelParameter("orders", "How many orders can be placed in all.", 2, 1, 4),
            ModelParameter("log", "How many commands fit in the log between two snapshots.", 1, 1, 3),
        ),
        bugs=(
            PlantedBug(
                "restore",
                "A restore brings back the snapshot and drops the log.",
                "restore",
                ("CONS-1", "FINAL-1", "FINAL-3"),
            ),
        ),
        spec=Yardstick,
        make=Yardstick,
    ),
)


def list_models() -> tuple[ModelEntry, ...]:
    """All models, by name."""
    return _MODELS


def goal_models() -> dict[str, str]:
    """The goals of the exchange, each with the model in which it lives: the first slice listed that has it."""
    homes: dict[str, str] = {}
    for name in SLICES:
        model = f"exchange:slice={name}"
        for goal in load_model(model).goals:
            homes.setdefault(goal.invariant, model)
    return homes


def load_model(text: str) -> Model:
    """The model that NAME[:PARAMETER=VALUE[,PARAMETER=VALUE...]] means; `bug=NAME` plants a bug.

    The model's `name` is normalised: parameters in their order, those at their defaults left out. HoldfastError for
    an unknown name, parameter, value or bug; its message lists what there is.

    >>> load_model("yardstick:bug=restore,log=2,orders=2").name
    'yardstick:log=2,bug=restore'
    >>> load_model("exchange:signers=3,slice=recovery+custody").name
    'exchange:slice=custody+recovery,signers=3'
    """
    name, separator, rest = text.partition(":")
    entry = next((m for m in _MODELS if m.name == name), None)
    if entry is None:
        raise HoldfastError(f"unknown model {name!r}; expected one of: {', '.join(m.name for m in _MODELS)}")
    given = _given(entry, text, rest.split(",") if separator else [])
    values: dict[str, int | str] = {
        p.name: _number(entry, p, given[p.name]) for p in entry.parameters if p.name in given
    }
    defaults = {p.name: p.default for p in entry.parameters}
    shown: list[str] = []
    bugs = entry.bugs
    if entry.parts:
        parts = part_names(given.get("slice", SPOT))
        values["slice"] = slice_name(parts)
        defaults = sizes_of(parts)
        actions = {action.name for action in slice_class(parts).declared_actions()}
        present = parts_present(parts)
        bugs = tuple(bug for bug in bugs if bug.action in actions and set(part_names(bug.slice)) <= present)
        shown += [f"slice={values['slice']}"] if values["slice"] != SPOT else []
    shown += [f"{name}={values[name]}" for name in defaults if values.get(name, defaults[name]) != defaults[name]]
    if "bug" in given:
        names = [bug.name for bug in bugs]
        if given["bug"] not in names:
            raise HoldfastError(f"model {name!r} has no bug {given['bug']!r}; expected one of: {', '.join(names)}")
        values["bug"] = given["bug"]
        shown.append(f"bug={given['bug']}")
    return Model(entry.make(**values), name=f"{name}:{','.join(shown)}" if shown else name)


def _given(entry: ModelEntry, text: str, assignments: list[str]) -> dict[str, str]:
    """The parameters that a model's name gives, each once and known, or HoldfastError."""
    known = [p.name for p in entry.parameters] + (["slice"] if entry.parts else []) + ["bug"]
    given: dict[str, str] = {}
    for assignment in assignments:
        parameter, equals, value = assignment.partition("=")
        if not equals or parameter not in known:
            raise HoldfastError(
                f"model {entry.name!r} has no parameter {parameter!r}; "
                f"expected PARAMETER=VALUE with one of: {', '.join(known)}"
            )
        if parameter in given:
            raise HoldfastError(f"model {text!r} gives parameter {parameter!r} twice; expected it once")
        given[parameter] = value
    return given


def _number(entry: ModelEntry, parameter: ModelParameter, text: str) -> int:
    """The value of a parameter, or HoldfastError."""
    if text.isascii() and text.isdigit() and len(text) <= len(str(parameter.greatest)):
        value = int(text)
        if parameter.least <= value <= parameter.greatest:
            return value
    raise HoldfastError(
        f"parameter {parameter.name!r} of model {entry.name!r} is {text!r}; "
        f"expected a whole number within {parameter.least}..{parameter.greatest}"
    )
