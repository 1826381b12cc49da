"""The JSON forms of the vocabulary: one for the wire, traces and fixtures, and one for hashes and private stores.

`encode` writes compact JSON with the fields in their declared order, so that equal values give equal bytes. `decode`
reads it back strictly. Amounts, prices and sizes are decimal strings (`amounts.DECIMAL_STRINGS`), everything else is
what msgspec makes of it. The encoders are generated once per class as Python source; decoding goes through a mirror
of each class in which the decimal strings are `str` with a pattern. The JSON Schemas are made from the same mirrors.

`canonical` and `from_canonical` are the same but for integers, which are bare digits of any length, and for letters
beyond ASCII, which are not escaped. It is msgspec's own form, ten times as fast, and what hashes are taken over;
nobody reads its numbers but the engine that wrote them (docs/decisions/0005-the-form-that-is-hashed.md).
"""

import types
import typing
from collections.abc import Callable, Mapping
from enum import StrEnum
from functools import cache
from json.encoder import encode_basestring_ascii
from typing import Annotated, Any, TypeVar

import msgspec
from msgspec import Meta, Struct

from holdfast_model.errors import HoldfastError
from holdfast_model.vocabulary.amounts import DECIMAL_DIGITS_MAX, DECIMAL_STRINGS

T = TypeVar("T")

DECIMAL_PATTERN = rf"^(0|-?[1-9][0-9]{{0,{DECIMAL_DIGITS_MAX - 1}}})$(?!\n)"
_Decimal = Annotated[str, Meta(pattern=DECIMAL_PATTERN, description="an integer, as a decimal string")]


class WireError(HoldfastError):
    """Bytes that are not the JSON of what was expected; the message says where and what."""


def encode(value: Struct) -> bytes:
    """The canonical JSON of a vocabulary value, without white space.

    >>> from holdfast_model.vocabulary import CancelOrder
    >>> encode(CancelOrder(client="alice", order="1"))
    b'{"type":"cancel_order","client":"alice","order":"1"}'
    """
    return _encoder(type(value))(value).encode("ascii")


@typing.overload
def decode(data: bytes | str, expected: type[T]) -> T: ...
@typing.overload
def decode(data: bytes | str, expected: Any) -> Any: ...  # noqa: ANN401 - a union has no type of its own
def decode(data: bytes | str, expected: Any) -> Any:
    """The value that the JSON stands for.

    Raises `WireError` on anything that is not exactly of the expected form: broken JSON, a missing or unknown field,
    an amount that is a JSON number, an id that breaks its pattern.
    """
    mirror, convert = _decoder(expected)
    try:
        return convert(mirror.decode(data))
    except (msgspec.DecodeError, UnicodeDecodeError, ValueError) as error:
        raise WireError(str(error)) from error


def canonical(value: Struct) -> bytes:
    """The JSON of a vocabulary value that hashes are taken over and that an engine keeps for itself.

    >>> from holdfast_model.vocabulary import Amount, AssetAmount
    >>> canonical(AssetAmount(asset="BTC", amount=Amount(10**30)))
    b'{"asset":"BTC","amount":1000000000000000000000000000000}'
    """
    return CANONICAL.encode(value)


def from_canonical(data: bytes | memoryview, expected: type[T]) -> T:
    """The value that its canonical JSON stands for. Raises `WireError` on anything else."""
    known: Any = expected
    try:
        value: T = _canonical_decoder(known).decode(data)
    except (msgspec.DecodeError, UnicodeDecodeError, ValueError) as error:
        raise WireError(str(error)) from error
    return value


def schema(roots: Mapping[str, Any], *, title: str) -> dict[str, Any]:
    """A JSON Schema (2020-12) that defines each root and all that it refers to under `$defs`."""
    mirrored = [_mirror(root) for root in roots.values()]
    schemas, components = msgspec.json.schema_components(mirrored, ref_template="#/$defs/{name}")
    named = {name: body for name, body in zip(roots, schemas, strict=True) if body.get("$ref") != f"#/$defs/{name}"}
    definitions = components | named
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": title,
        "$defs": dict(sorted(definitions.items())),
    }


CANONICAL = msgspec.json.Encoder()


@cache
def _canonical_decoder(expected: Any) -> msgspec.json.Decoder[Any]:  # noqa: ANN401 - an annotation is any object
    return msgspec.json.Decoder(expected)


# Encoding ---------------------------------------------------------------------------------------------------------


def _is_struct(annotation: object) -> bool:
    return isinstance(annotation, type) and issubclass(annotation, Struct)


def _plain(annotation: Any) -> Any:  # noqa: ANN401 - an annotation is any object
    """The annotation without `Annotated` and, for a decimal string, the NewType itself."""
    while typing.get_origin(annotation) is Annotated:
        annotation = typing.get_args(annotation)[0]
    return annotation


def _union_members(annotation: object) -> tuple[Any, ...] | None:
    if typing.get_origin(annotation) in (typing.Union, types.UnionType):
        return typing.get_args(annotation)
    return None


def _expression(annotation: Any, value: str) -> str:  # noqa: ANN401 - an annotation is any object
    """Python source of an expression whose value is the JSON of the expression `value`."""
    annotation = _plain(annotation)
    if annotation in DECIMAL_STRINGS:
        return f"'\"' + str({value}) + '\"'"
    if annotation is str:
        return f"quote({value})"
    if annotation is int:
        return f"str({value})"
    if annotation is float:
        return f"repr({value})"
    if annotation is bool:
        return f"('true' if {value} else 'false')"
    if isinstance(annotation, type) and issubclass(annotation, StrEnum):
        return f"f'\"{{{value}}}\"'"
    if _is_struct(annotation):
        return f"encoder({value}.__class__)({value})"
    members = _union_members(annotation)
    if members is not None:
        present = tuple(member for member in members if member is not type(None))
        inner = (
            f"encoder({value}.__class__)({value})"
            if all(_is_struct(member) for member in present)
            else _expression(_only(present), value)
        )
        return f"('null' if {value} is None else {inner})" if len(present) < len(members) else inner
    arguments = typing.get_args(annotation)
    if typing.get_origin(annotation) is tuple and arguments[1:] == (...,):
        return f"'[' + ','.join([{_expression(arguments[0], 'item')} for item in {value}]) + ']'"
    if typing.get_origin(annotation) is dict and arguments[0] is str:
        item = f"quote(key) + ':' + {_expression(arguments[1], 'item')}"
        return f"'{{' + ','.join([{item} for key, item in {value}.items()]) + '}}'"
    raise AssertionError(f"no JSON form for {annotation!r}")


def _only(members: tuple[Any, ...]) -> Any:  # noqa: ANN401 - an annotation is any object
    assert len(members) == 1, f"a union of {members!r} has no JSON form"
    return members[0]


@cache
def _encoder(struct: type[Struct]) -> Callable[[Struct], str]:
    """A function from an instance of the class to its JSON, generated from the class's fields."""
    info = msgspec.structs.fields(struct)
    config = struct.__struct_config__
    parts = []
    if config.tag is not None:
        parts.append(f'\'"{config.tag_field}":"{config.tag}"\'')
    parts += [f"'\"{field.encode_name}\":' + {_expression(field.type, f'value.{field.name}')}" for field in info]
    body = " + ',' + ".join(parts) if parts else "''"
    source = f"lambda value: '{{' + {body} + '}}'"
    return typing.cast(
        "Callable[[Struct], str]",
        eval(source, {"quote": encode_basestring_ascii, "encoder": _encoder}),  # noqa: S307 - source is made above from our own classes
    )


# Decoding ---------------------------------------------------------------------------------------------------------


@cache
def _mirror_struct(struct: type[Struct]) -> type[Struct]:
    """The class with each decimal string as a `str` of the right pattern, all else alike."""
    config = struct.__struct_config__
    fields: list[tuple[str, Any, Any]] = []
    for field in msgspec.structs.fields(struct):
        default: Any = msgspec.field(name=field.encode_name)
        if not field.required:
            if field.default is not msgspec.NODEFAULT:
                default = str(field.default) if _plain(field.type) in DECIMAL_STRINGS else field.default
            else:
                default = msgspec.field(default_factory=field.default_factory)
        fields.append((field.name, _mirror(field.type), default))
    return msgspec.defstruct(
        struct.__name__,
        fields,
        kw_only=True,
        tag=config.tag,
        tag_field=config.tag_field,
        forbid_unknown_fields=True,
        namespace={"__doc__": (struct.__doc__ or "").strip().split("\n")[0]},
    )


def _mirror(annotation: Any) -> Any:  # noqa: ANN401 - an annotation is any object
    plain = _plain(annotation)
    if plain in DECIMAL_STRINGS:
        return _Decimal
    if _is_struct(plain):
        return _mirror_struct(plain)
    members = _union_members(plain)
    if members is not None:
        return typing.Union[tuple(_mirror(member) for member in members)]  # noqa: UP007 - built from a tuple
    arguments = typing.get_args(plain)
    if typing.get_origin(plain) is tuple:
        return tuple[_mirror(arguments[0]), ...]  # type: ignore[misc]  # the type is computed
    if typing.get_origin(plain) is dict:
        return dict[arguments[0], _mirror(arguments[1])]  # type: ignore[misc,valid-type]  # the type is computed
    return annotation


_Convert = Callable[[Any], Any]


def _identity(value: Any) -> Any:  # noqa: ANN401 - any JSON value
    return value


def _converter(annotation: Any) -> _Convert:  # noqa: ANN401 - an annotation is any object
    """A function from the mirror's value to the vocabulary's."""
    plain = _plain(annotation)
    if plain in DECIMAL_STRINGS:
        return int
    if _is_struct(plain):
        return _struct_converter(plain)
    members = _union_members(plain)
    if members is not None:
        structs = {_mirror_struct(member): member for member in members if _is_struct(member)}
        if structs:
            return lambda value: None if value is None else _struct_converter(structs[type(value)])(value)
        inner = _converter(_only(tuple(member for member in members if member is not type(None))))
        return lambda value: None if value is None else inner(value)
    arguments = typing.get_args(plain)
    if typing.get_origin(plain) is tuple:
        inner = _converter(arguments[0])
        return tuple if inner is _identity else lambda value: tuple([inner(item) for item in value])
    if typing.get_origin(plain) is dict:
        inner = _converter(arguments[1])
        return lambda value: {key: inner(item) for key, item in value.items()}
    return _identity


@cache
def _struct_converter(struct: type[Struct]) -> _Convert:
    converters = [(field.name, _converter(field.type)) for field in msgspec.structs.fields(struct)]

    def convert(value: Struct) -> Struct:
        return struct(**{name: inner(getattr(value, name)) for name, inner in converters})

    return convert


@cache
def _decoder(expected: Any) -> tuple[msgspec.json.Decoder[Any], _Convert]:  # noqa: ANN401 - an annotation is any object
    return msgspec.json.Decoder(_mirror(expected)), _converter(expected)
