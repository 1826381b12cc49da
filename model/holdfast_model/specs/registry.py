"""The models that ship with Holdfast, by name. Loading one stages nothing and needs neither z3 nor numpy."""

from collections.abc import Callable
from dataclasses import dataclass

from holdfast_model.errors import HoldfastError
from holdfast_model.spec import Model, Spec
from holdfast_model.specs.spot import Spot
from holdfast_model.specs.yardstick import Yardstick


@dataclass(frozen=True, slots=True)
class ModelParameter:
    """A whole number that a model can be loaded with, `least` and `greatest` included."""

    name: str
    sentence: str
    default: int
    least: int
    greatest: int


@dataclass(frozen=True, slots=True)
class PlantedBug:
    """A mistake that can be put into a model by name, and the invariants that `prove` must then refute, and where."""

    name: str
    sentence: str
    action: str
    breaks: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class ModelEntry:
    """What there is to know about a model before loading it."""

    name: str
    sentence: str
    parameters: tuple[ModelParameter, ...]
    bugs: tuple[PlantedBug, ...]
    spec: type[Spec]
    make: Callable[..., Spec]

    @property
    def invariants(self) -> tuple[str, ...]:
        """The catalogue ids that the model has formulas for, in the order written."""
        return tuple(dict.fromkeys(p.invariant for p in self.spec.declared_properties() if not p.auxiliary))


_MODELS = (
    ModelEntry(
        name="spot",
        sentence="A spot exchange with unbounded amounts, partial fills, maintenance, snapshot, crash and restore.",
        parameters=(
            ModelParameter("accounts", "How many clients there are.", 2, 1, 16),
            ModelParameter("orders", "How many orders can be placed in all.", 2, 1, 64),
            ModelParameter("log", "How many commands fit in the log between two snapshots.", 1, 1, 4),
            ModelParameter(
                "amounts", "The limit of amounts, prices and sizes in a search; proofs have none.", 2, 1, 50
            ),
        ),
        bugs=(
            PlantedBug(
                "restore",
                "A restore brings back the snapshot and drops the log.",
                "restore",
                ("CONS-1", "FINAL-1", "FINAL-2", "FINAL-3"),
            ),
            PlantedBug(
                "replay-twice",
                "A restore replays the log twice.",
                "restore",
                ("CONS-1", "CONS-2", "FINAL-2", "FINAL-3"),
            ),
            PlantedBug("refund", "Cancelling a buy order releases the wrong asset.", "cancel", ("CONS-1",)),
            PlantedBug(
                "double-fill",
                "A trade leaves the sell order's size as it was, so that it can be filled again.",
                "trade",
                ("FINAL-1", "FINAL-2", "FINAL-3"),
            ),
            PlantedBug("cancel-filled", "A filled order can be cancelled.", "cancel", ("FINAL-1", "FINAL-2")),
            PlantedBug("overdraft", "A withdrawal does not look at the balance.", "withdraw", ("CONS-2",)),
            PlantedBug("place-while-halted", "An order is accepted during a halt.", "place", ("PHASE-1",)),
        ),
        spec=Spot,
        make=Spot,
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


def load_model(text: str) -> Model:
    """The model that NAME[:PARAMETER=VALUE[,PARAMETER=VALUE...]] means; `bug=NAME` plants a bug.

    The model's `name` is normalised: parameters in their order, those at their defaults left out. HoldfastError for
    an unknown name, parameter, value or bug; its message lists what there is.

    >>> load_model("yardstick:bug=restore,log=2,orders=2").name
    'yardstick:log=2,bug=restore'
    """
    name, separator, rest = text.partition(":")
    entry = next((m for m in _MODELS if m.name == name), None)
    if entry is None:
        raise HoldfastError(f"unknown model {name!r}; expected one of: {', '.join(m.name for m in _MODELS)}")
    given: dict[str, str] = {}
    for part in rest.split(",") if separator else []:
        parameter, equals, value = part.partition("=")
        known = [p.name for p in entry.parameters] + ["bug"]
        if not equals or parameter not in known:
            raise HoldfastError(
                f"model {name!r} has no parameter {parameter!r}; "
                f"expected PARAMETER=VALUE with one of: {', '.join(known)}"
            )
        if parameter in given:
            raise HoldfastError(f"model {text!r} gives parameter {parameter!r} twice; expected it once")
        given[parameter] = value
    values: dict[str, int | str] = {
        p.name: _number(entry, p, given[p.name]) for p in entry.parameters if p.name in given
    }
    shown = [f"{p.name}={values[p.name]}" for p in entry.parameters if values.get(p.name, p.default) != p.default]
    if "bug" in given:
        bugs = [bug.name for bug in entry.bugs]
        if given["bug"] not in bugs:
            raise HoldfastError(f"model {name!r} has no bug {given['bug']!r}; expected one of: {', '.join(bugs)}")
        values["bug"] = given["bug"]
        shown.append(f"bug={given['bug']}")
    return Model(entry.make(**values), name=f"{name}:{','.join(shown)}" if shown else name)


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
