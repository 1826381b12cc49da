"""Traces as files in the Informal Trace Format (ITF) of Apalache and Quint.

The format is Apalache's ADR-015 (https://apalache-mc.org/docs/adr/015adr-trace.html): an object with `vars` and
`states`; integers are `{"#bigint": "1"}`, functions `{"#map": [[key, value], ...]}`, tuples `{"#tup": [...]}`,
records plain objects. A variable of the model is a variable of the trace, with the shape that its spec gives it: a
family is a map from members of sorts (a tuple of them where there are several), a member of a sort its printed name.

What led to each state stands in the state's `#meta`, as `action` and `arguments`, so that the variables of a trace
are those of the model and no others. What Quint writes with `--mbt` is read as well: the variable `mbt::actionTaken`
and `mbt::nondetPicks` with an option for each parameter. A file of another tool may have neither. What a trace was
found on and what it shows stand in the `holdfast` field of the file's `#meta`, which other tools ignore.

A file is untrusted: its size, its numbers and the count of its states are bounded, and a message names file, state,
variable, what was found and what was expected.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, TypeAlias

import msgspec
from msgspec import Struct

from holdfast_model.errors import HoldfastError
from holdfast_model.evidence import TraceState
from holdfast_model.spec.model import Model, State
from holdfast_model.spec.shapes import Cell, Family, Fields, Names, Shape, printed_values, shape_of
from holdfast_model.spec.sorts import Enumeration, Finite, Index
from holdfast_model.spec.variables import Variable
from holdfast_model.traces.moves import ASSUMED, INIT, Move, move_of

SUFFIX = ".itf.json"
FILE_BYTES_MAX = 64 * 1024 * 1024
STATES_MAX = 100_000
DIGITS_MAX = 1_000
"""The most digits of an integer in a file that is read."""

SCHEMA = "holdfast/trace/1"
FORMAT_DESCRIPTION = "https://apalache-mc.org/docs/adr/015adr-trace.html"
ACTION: Final = "action"
ARGUMENTS: Final = "arguments"
ACTION_TAKEN: Final = "mbt::actionTaken"
NONDET_PICKS: Final = "mbt::nondetPicks"
_META: Final = "#meta"

_JSON_INTEGER_MAX = 2**53 - 1
"""Integers beyond it do not survive every reader of JSON, and the format wants them as `#bigint`."""

_SHOWN_CHARACTERS_MAX = 60

Json: TypeAlias = Any
"""What a JSON decoder returns."""


class Shows(Struct, frozen=True, kw_only=True):
    """What a trace was written for: "violation", "goal" or "refutation" (of an induction step), and of what."""

    kind: str
    name: str
    property: str = ""


@dataclass(frozen=True, slots=True)
class ItfTrace:
    """A trace as read from a file: states of a model, and what is said to have led to each; None where nothing is.

    `loop` is the number of the state that follows the last one again. `assumed` says that the first state is one that
    induction assumes, and not the model's initial one.
    """

    model: Model
    states: tuple[State, ...]
    moves: tuple[Move | None, ...]
    loop: int | None
    assumed: bool
    shows: Shows | None


def written(model: Model, trace: Sequence[TraceState], shows: Shows | None = None) -> bytes:
    """The trace as an ITF document, one state a line."""
    assert trace, "a trace has a first state"
    shape = shape_of(model)
    head = {
        _META: {
            "format": "ITF",
            "format-description": FORMAT_DESCRIPTION,
            "source": model.name,
            "description": f"Written by Holdfast: a path of model {model.name}",
            "holdfast": {"schema": SCHEMA, "model": model.name, **({} if shows is None else {"shows": shows})},
        },
        "vars": list(shape.fields),
    }
    lines = []
    for index, step in enumerate(trace):
        move = move_of(model, step.action) if index else Move(step.action, {})
        values = printed_values(model, step.state)
        lines.append(
            msgspec.json.encode(
                {
                    _META: {
                        "index": index,
                        ACTION: move.action,
                        ARGUMENTS: {
                            name: value if isinstance(value, str) else {"#bigint": str(value)}
                            for name, value in move.arguments.items()
                        },
                    },
                    **{name: _encoded(part, values) for name, part in shape.fields.items()},
                }
            )
        )
    start = msgspec.json.encode(head).removesuffix(b"}")
    return start + b',"states":[\n' + b",\n".join(lines) + b"\n]}\n"


def write_itf(path: Path, model: Model, trace: Sequence[TraceState], shows: Shows | None = None) -> None:
    """Write a trace to a file whose folder is made where it is missing. HoldfastError where that fails."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(written(model, trace, shows))
    except OSError as error:
        raise HoldfastError(f"{path}: cannot be written: {error.strerror}") from error


def _encoded(shape: Shape, state: State) -> Json:
    match shape:
        case Cell(position, variable):
            return _encoded_value(variable, state[position])
        case Family(sorts, members):
            return {"#map": [[_encoded_key(sorts, key), _encoded(member, state)] for key, member in members.items()]}
        case Fields(fields):
            return {name: _encoded(field, state) for name, field in fields.items()}


def _encoded_key(sorts: tuple[Finite, ...], key: tuple[int, ...]) -> Json:
    names = [str(sort(number)) for sort, number in zip(sorts, key, strict=True)]
    return names[0] if len(names) == 1 else {"#tup": names}


def _encoded_value(variable: Variable, value: int) -> Json:
    if issubclass(variable.sort, bool):
        return bool(value)
    if issubclass(variable.sort, Index | Enumeration):
        return variable.printed(value)
    return {"#bigint": str(value)}


def is_itf(data: bytes) -> bool:
    """Whether these are the bytes of a JSON object with `vars` and `states`, as a trace has and evidence has not."""
    try:
        found = msgspec.json.decode(data, type=dict[str, msgspec.Raw])
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return False
    return "vars" in found and "states" in found


def model_of(data: bytes) -> str | None:
    """The name of the model that a trace records, None where it records none."""
    meta = msgspec.json.decode(data, type=dict[str, msgspec.Raw]).get(_META)
    try:
        recorded = {} if meta is None else msgspec.json.decode(meta)
    except (msgspec.DecodeError, RecursionError):
        return None
    ours = recorded.get("holdfast") if isinstance(recorded, dict) else None
    name = ours.get("model") if isinstance(ours, dict) else None
    return name if isinstance(name, str) else None


def read_itf(path: Path, data: bytes, model: Model) -> ItfTrace:
    """The trace of this model that the bytes of a file hold. HoldfastError says what is wrong with it, and where."""
    if len(data) > FILE_BYTES_MAX:
        raise HoldfastError(f"{path}: {len(data)} bytes; at most {FILE_BYTES_MAX} are read")
    try:
        document = msgspec.json.decode(data)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise HoldfastError(f"{path}: no JSON of a trace: {error}") from error
    return _Reader(path, model).trace(document)


class _Reader:
    """Reads one document; knows where it is for its messages."""

    def __init__(self, path: Path, model: Model) -> None:
        self._path = path
        self._model = model
        self._shape = shape_of(model)
        self._names = Names(model)

    def _error(self, where: str, found: str, expected: str) -> HoldfastError:
        return HoldfastError(f"{self._path}: {where}: found {found}; expected {expected}")

    def _fail(self, where: str, found: Json, expected: str) -> HoldfastError:
        return self._error(where, _shown(found), expected)

    def trace(self, document: Json) -> ItfTrace:
        if not isinstance(document, dict):
            raise self._fail("the document", document, "an object with `vars` and `states`")
        self._check_variables(document.get("vars"))
        listed = document.get("states")
        if not isinstance(listed, list) or not listed:
            raise self._fail("`states`", listed, "an array of at least one state")
        if len(listed) > STATES_MAX:
            raise HoldfastError(f"{self._path}: {len(listed)} states; at most {STATES_MAX} are read")
        states, moves = [], []
        for number, found in enumerate(listed):
            states.append(self._state(number, found))
            moves.append(self._move(number, found))
        loop = document.get("loop")
        if loop is not None and (type(loop) is not int or not 0 <= loop < len(states)):
            raise self._fail("`loop`", loop, f"the number of a state, 0..{len(states) - 1}")
        first = self._meta(listed[0]).get(ACTION)
        return ItfTrace(
            self._model, tuple(states), (None, *moves[1:]), loop, first == ASSUMED, self._shows(document.get(_META))
        )

    @staticmethod
    def _meta(found: Mapping[str, Json]) -> Mapping[str, Json]:
        """The metadata of a state, empty where it has none."""
        meta = found.get(_META)
        return meta if isinstance(meta, dict) else {}

    def _check_variables(self, listed: Json) -> None:
        if not isinstance(listed, list) or not all(isinstance(name, str) for name in listed):
            raise self._fail("`vars`", listed, "an array of the names of variables")
        for name in self._shape.fields:
            if name not in listed:
                raise self._error("`vars`", f"no {name!r}", f"all variables: {', '.join(self._shape.fields)}")

    def _state(self, number: int, found: Json) -> State:
        where = f"state {number}"
        if not isinstance(found, dict):
            raise self._fail(where, found, "an object with a value for each variable")
        for name in found:
            if name not in self._shape.fields and name not in {_META, ACTION_TAKEN, NONDET_PICKS}:
                raise self._fail(where, name, f"one of the variables {', '.join(self._shape.fields)}")
        values = [0] * len(self._model.variables)
        for name, shape in self._shape.fields.items():
            if name not in found:
                raise HoldfastError(f"{self._path}: {where}: no value for `{name}`; expected one in every state")
            self._read(shape, found[name], f"{where}, {name}", values)
        return tuple(values)

    def _read(self, shape: Shape, found: Json, where: str, values: list[int]) -> None:
        match shape:
            case Cell(position, variable):
                values[position] = self._value(variable, found, where)
            case Fields(fields):
                if not isinstance(found, dict) or set(found) != set(fields):
                    raise self._fail(where, found, f"a record with the fields {', '.join(fields)}")
                for name, field in fields.items():
                    self._read(field, found[name], f"{where}.{name}", values)
            case Family(sorts, members):
                for key, value in self._entries(shape, found, where).items():
                    printed = ", ".join(str(sort(k)) for sort, k in zip(sorts, key, strict=True))
                    self._read(members[key], value, f"{where}[{printed}]", values)

    def _entries(self, family: Family, found: Json, where: str) -> dict[tuple[int, ...], Json]:
        """The values of a family by key: each key of it once."""
        sorts = " and ".join(sort.__name__ for sort in family.sorts)
        pairs = found.get("#map") if isinstance(found, dict) else None
        if isinstance(found, dict) and pairs is None and len(family.sorts) == 1:
            # A function of strings is a record; some writers choose that form.
            pairs = [[name, value] for name, value in found.items()]
        if not isinstance(pairs, list):
            raise self._fail(where, found, f'{{"#map": [[key, value], ...]}} over {sorts}')
        entries: dict[tuple[int, ...], Json] = {}
        for pair in pairs:
            if not isinstance(pair, list) or len(pair) != 2:  # noqa: PLR2004 - a key and a value
                raise self._fail(where, pair, "a pair of key and value")
            key = self._key(family.sorts, pair[0], where)
            if key in entries:
                raise self._error(where, f"the key {_shown(pair[0])} twice", "each key once")
            entries[key] = pair[1]
        if len(entries) != len(family.members):
            raise self._error(where, f"{len(entries)} keys", f"all {len(family.members)} of {sorts}")
        return entries

    def _key(self, sorts: tuple[Finite, ...], found: Json, where: str) -> tuple[int, ...]:
        parts: Json = [found]
        if len(sorts) > 1:
            parts = found.get("#tup") if isinstance(found, dict) else found
        if not isinstance(parts, list) or len(parts) != len(sorts):
            raise self._fail(where, found, f"a key of {len(sorts)} members")
        key = []
        for sort, part in zip(sorts, parts, strict=True):
            members = self._names.of(sort)
            if not isinstance(part, str) or part not in members:
                raise self._fail(f"{where}, in a key", part, f"one of {', '.join(members)}")
            key.append(members[part])
        return tuple(key)

    def _value(self, variable: Variable, found: Json, where: str) -> int:
        sort = variable.sort
        if issubclass(sort, bool):
            if not isinstance(found, bool):
                raise self._fail(where, found, "true or false")
            return int(found)
        if issubclass(sort, Index | Enumeration):
            members = self._names.of(sort)
            if not isinstance(found, str) or found not in members:
                raise self._fail(where, found, f"one of {', '.join(members)}")
            return members[found]
        return self._integer(found, where)

    def _integer(self, found: Json, where: str) -> int:
        text = found.get("#bigint") if isinstance(found, dict) and len(found) == 1 else None
        if isinstance(text, str) and re.fullmatch(rf"-?[0-9]{{1,{DIGITS_MAX}}}", text, re.ASCII):
            return int(text)
        if type(found) is int and abs(found) <= _JSON_INTEGER_MAX:
            return found
        raise self._fail(where, found, f'an integer, as {{"#bigint": "1"}} of at most {DIGITS_MAX} digits')

    def _move(self, number: int, found: Mapping[str, Json]) -> Move | None:
        """What led to a state, by the state's metadata or by Quint's variables."""
        meta = self._meta(found)
        of_meta = ACTION in meta
        action = meta[ACTION] if of_meta else found.get(ACTION_TAKEN)
        if action is None:
            return None
        place = f"{_META}.{ACTION}" if of_meta else ACTION_TAKEN
        if not isinstance(action, str):
            raise self._fail(f"state {number}, {place}", action, "the name of an action")
        if not number:
            if action not in {INIT, ASSUMED}:
                raise self._fail(f"state 0, {place}", action, f"{INIT!r} or {ASSUMED!r} at the first state")
            return None
        declared = next((a for a in self._model.actions if a.name == action), None)
        if declared is None:
            names = ", ".join(a.name for a in self._model.actions)
            raise self._fail(f"state {number}, {place}", action, f"one of {names}")
        place = f"state {number}, " + (f"{_META}.{ARGUMENTS}" if of_meta else NONDET_PICKS)
        given = meta.get(ARGUMENTS) if of_meta else found.get(NONDET_PICKS)
        if not isinstance(given, dict):
            raise self._fail(place, given, f"a value for each parameter of {action}")
        arguments: dict[str, int | str] = {}
        for parameter in declared.parameters:
            value = given.get(parameter.name)
            where = f"{place}.{parameter.name}"
            if not of_meta:
                if not isinstance(value, dict) or value.get("tag") != "Some" or "value" not in value:
                    raise self._fail(where, value, '{"tag": "Some", "value": ...}')
                value = value["value"]
            arguments[parameter.name] = value if isinstance(value, str) else self._integer(value, where)
        return Move(action, arguments)

    def _shows(self, meta: Json) -> Shows | None:
        ours = meta.get("holdfast") if isinstance(meta, dict) else None
        shows = ours.get("shows") if isinstance(ours, dict) else None
        if shows is None:
            return None
        try:
            return msgspec.convert(shows, Shows)
        except msgspec.ValidationError as error:
            raise HoldfastError(f"{self._path}: {_META}.holdfast.shows: {error}") from error


def _shown(found: Json) -> str:
    """What was found, short enough for a message; `repr` leaves no control characters."""
    if found is None:
        return "nothing"
    text = repr(found)
    return text if len(text) <= _SHOWN_CHARACTERS_MAX else f"{text[:_SHOWN_CHARACTERS_MAX]}..."
