"""The one JSON form: what is written is read back, and anything else is refused."""

import json
import typing
from enum import StrEnum
from types import UnionType
from typing import Annotated, Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec import Struct
from msgspec.structs import replace

from holdfast_model.vocabulary import (
    AmendOrder,
    Answer,
    AssetAmount,
    Borrow,
    CancelOrder,
    Collateral,
    Command,
    Conditions,
    Crash,
    CreditDeposit,
    Deleveraged,
    Event,
    FundHouse,
    GrantPromotion,
    JournalRecord,
    LiquidationStepped,
    Margin,
    MarkChanged,
    Market,
    MarkRule,
    Perpetual,
    PlaceOrder,
    PositionChanged,
    Product,
    Record,
    Rejected,
    Repay,
    ReportPrice,
    RequestWithdrawal,
    Setup,
    Side,
    Step,
    Tier,
    TradeExecuted,
    TransferMargin,
    Trigger,
    TriggerWhen,
    View,
)
from holdfast_model.vocabulary.amounts import DECIMAL_DIGITS_MAX, DECIMAL_STRINGS, Amount, PriceTicks, SizeLots
from holdfast_model.vocabulary.protocol import Reply, Request
from holdfast_model.vocabulary.wire import WireError, decode, encode

LARGEST = 10**DECIMAL_DIGITS_MAX - 1


def anything_of(annotation: Any) -> st.SearchStrategy[Any]:  # noqa: ANN401 - an annotation is any object
    """Any value that the annotation allows; written anew here, so that it knows nothing of the code under test."""
    metas: list[msgspec.Meta] = []
    while typing.get_origin(annotation) is Annotated:
        metas += [meta for meta in typing.get_args(annotation)[1:] if isinstance(meta, msgspec.Meta)]
        annotation = typing.get_args(annotation)[0]
    limits = {
        name: next((getattr(meta, name) for meta in metas if getattr(meta, name) is not None), None)
        for name in ("ge", "le", "pattern", "max_length")
    }
    arguments = typing.get_args(annotation)
    if annotation in DECIMAL_STRINGS:
        return st.integers(-LARGEST // 10, LARGEST)
    if annotation is str:
        if limits["pattern"]:
            return st.from_regex(limits["pattern"].replace("$", r"\Z"))
        return st.text(st.characters(exclude_categories=["Cs"]), max_size=min(8, limits["max_length"] or 8))
    if annotation is int:
        return st.integers(limits["ge"] or 0, limits["le"] or 2**53 - 1)
    if annotation is bool:
        return st.booleans()
    if annotation is type(None):
        return st.none()
    if isinstance(annotation, type) and issubclass(annotation, StrEnum):
        return st.sampled_from(list(annotation))
    if typing.get_origin(annotation) in (typing.Union, UnionType):
        return st.one_of([anything_of(argument) for argument in arguments])
    if typing.get_origin(annotation) is tuple:
        return st.lists(anything_of(arguments[0]), max_size=2).map(tuple)
    if annotation is Setup:
        return st.just(SETUP)
    assert isinstance(annotation, type)
    assert issubclass(annotation, Struct)
    return st.builds(
        annotation, **{field.name: anything_of(field.type) for field in msgspec.structs.fields(annotation)}
    )


RULE = MarkRule(sources=("s1",), sources_min=1, age_max_ms=1, band_ppm=1)
SPOT_MARKET = Market(
    market="BTC-USD", base="BTC", quote="USD", lot_amount=Amount(10), tick_amount=Amount(2**70), mark=RULE
)
TIER = Tier(value_floor=Amount(0), initial_ppm=2, maintenance_ppm=1)
SETUP = Setup(
    assets=("BTC", "USD"),
    markets=(
        SPOT_MARKET,
        replace(SPOT_MARKET, market="BTC-P", product="linear", perpetual=Perpetual(tiers=(TIER,))),
    ),
    clients=("alice", "bob"),
    products=(Product(product="linear"),),
    margin=Margin(unit="USD", collateral=(Collateral(asset="USD"), Collateral(asset="BTC", market="BTC-USD"))),
    promotion_max=(AssetAmount(asset="USD", amount=Amount(2**70)),),
)
MEMBERS = [
    pytest.param(member, union, id=f"{kind} {member.__name__}")
    for kind, union in (
        ("command", Command),
        ("event", Event),
        ("step", Step),
        ("request", Request),
        ("reply", Reply),
    )
    for member in typing.get_args(union)
]


@pytest.mark.parametrize(("member", "union"), MEMBERS)
def test_each_value_of_a_union_is_read_back_as_it_was_written(member: type[Struct], union: object) -> None:
    @settings(max_examples=12, deadline=None)
    @given(anything_of(member))
    def read_back(value: Struct) -> None:
        data = encode(value)
        assert decode(data, union) == value
        assert type(decode(data, union)) is type(value)
        assert encode(decode(data, union)) == data

    read_back()


@pytest.mark.parametrize("kind", [Answer, JournalRecord, Record, View])
def test_each_part_of_a_history_is_read_back_as_it_was_written(kind: type[Struct]) -> None:
    @settings(max_examples=15, deadline=None)
    @given(anything_of(kind))
    def read_back(value: Struct) -> None:
        assert decode(encode(value), kind) == value

    read_back()


def test_a_setup_is_read_back_as_it_was_written() -> None:
    assert decode(encode(SETUP), Setup) == SETUP


ORDER = PlaceOrder(
    client="alice",
    order="1",
    market="BTC-USD",
    side=Side.BUY,
    size_lots=SizeLots(2**64),
    price_ticks=PriceTicks(7),
)


def test_the_bytes_are_compact_ascii_with_every_field_in_declared_order() -> None:
    assert encode(ORDER) == (
        b'{"type":"place_order","client":"alice","order":"1","market":"BTC-USD","side":"buy",'
        b'"size_lots":"18446744073709551616","price_ticks":"7","time_in_force":"gtc","post_only":false,'
        b'"self_trade":"cancel_newest","conditions":null}'
    )
    assert encode(Rejected(reason=typing.get_type_hints(Rejected)["reason"].OTHER, detail="é\n\u2028😀")) == (
        b'{"type":"rejected","reason":"other","detail":"\\u00e9\\n\\u2028\\ud83d\\ude00"}'
    )


def test_conditions_are_written_whole_and_what_stands_at_its_default_may_be_left_out() -> None:
    trigger = Trigger(when=TriggerWhen.AT_OR_BELOW, price_ticks=PriceTicks(9))
    stop = replace(ORDER, conditions=Conditions(trigger=trigger, expires_ms=5, one_cancels_other="0"))
    written = (
        b'{"trigger":{"by":"last","when":"at_or_below","price_ticks":"9"},"reduce_only":false,"expires_ms":5,'
        b'"one_cancels_other":"0","cancel_on_disconnect":false}'
    )
    assert encode(stop) == encode(ORDER).replace(b'"conditions":null', b'"conditions":' + written)
    short = b'{"trigger":{"when":"at_or_below","price_ticks":"9"},"expires_ms":5,"one_cancels_other":"0"}'
    assert decode(encode(stop).replace(written, short), Command) == stop


def test_white_space_and_the_order_of_fields_do_not_matter_to_the_reader_but_the_bytes_come_out_canonical() -> None:
    scrambled = json.dumps(dict(reversed(json.loads(encode(ORDER)).items())), indent=3)
    assert decode(scrambled, Command) == ORDER
    assert encode(decode(scrambled, Command)) == encode(ORDER)


def test_a_field_with_a_default_may_be_left_out() -> None:
    fields = json.loads(encode(ORDER))
    for name in ("time_in_force", "post_only", "self_trade", "price_ticks", "conditions"):
        del fields[name]
    found = decode(json.dumps(fields), Command)
    assert isinstance(found, PlaceOrder)
    assert found.conditions is None
    assert (found.price_ticks, found.post_only, found.time_in_force) == (None, False, "gtc")


MONEY = [
    pytest.param(member, field.name, union, id=f"{member.__name__}.{field.name}")
    for union in (Command, Event)
    for member in typing.get_args(union)
    for field in msgspec.structs.fields(member)
    if field.type in DECIMAL_STRINGS or set(DECIMAL_STRINGS) & set(typing.get_args(field.type))
]


@pytest.mark.parametrize(("member", "field", "union"), MONEY)
def test_money_prices_and_sizes_are_decimal_strings_and_never_json_numbers(
    member: type[Struct], field: str, union: object
) -> None:
    @settings(max_examples=5, deadline=None)
    @given(anything_of(member), st.integers(1, LARGEST))
    def strings_only(value: Struct, amount: int) -> None:
        fields = json.loads(encode(value))
        fields[field] = str(amount)
        assert getattr(decode(json.dumps(fields), union), field) == amount
        for number in (amount, 1.0, True):
            fields[field] = number
            with pytest.raises(WireError, match=field):
                decode(json.dumps(fields), union)

    strings_only()


def test_every_command_that_moves_money_is_among_those_looked_at() -> None:
    assert {(parameter.values[0], parameter.values[1]) for parameter in MONEY} >= {
        (PlaceOrder, "size_lots"),
        (PlaceOrder, "price_ticks"),
        (AmendOrder, "size_lots"),
        (AmendOrder, "price_ticks"),
        (CreditDeposit, "amount"),
        (RequestWithdrawal, "amount"),
        (ReportPrice, "price_ticks"),
        *((command, "amount") for command in (TransferMargin, Borrow, Repay, FundHouse, GrantPromotion)),
        (PositionChanged, "position_lots"),
        (PositionChanged, "entry_value"),
        (MarkChanged, "mark_ticks"),
        (LiquidationStepped, "equity"),
        (Deleveraged, "score"),
        (TradeExecuted, "maker_fee"),
        (TradeExecuted, "taker_fee"),
    }


@pytest.mark.parametrize(
    "text",
    [
        "",
        " 1",
        "1 ",
        "1\n",
        "01",
        "-0",
        "+1",
        "1.0",
        "1e3",
        "0x10",
        "1_000",
        "٣",
        "--1",
        "-",
        "NaN",
        "1" * (DECIMAL_DIGITS_MAX + 1),
    ],
)
def test_a_decimal_string_has_one_spelling_and_a_bounded_length(text: str) -> None:
    with pytest.raises(WireError, match="amount"):
        decode(
            json.dumps({"type": "credit_deposit", "client": "a", "asset": "b", "amount": text, "transaction": "t"}),
            Command,
        )


@pytest.mark.parametrize(
    "identifier",
    ["", " ", "a b", "-a", ".a", "@fees", "a\n", "\na", "é", "a" * 65, "a\x00", "a,b", 'a"b', "<b>"],
)
@pytest.mark.parametrize("field", ["client", "order"])
def test_an_id_that_breaks_the_pattern_is_refused(field: str, identifier: str) -> None:
    fields = {"type": "cancel_order", "client": "alice", "order": "1"} | {field: identifier}
    with pytest.raises(WireError, match=field):
        decode(json.dumps(fields), Command)


@pytest.mark.parametrize("identifier", ["a", "0", "A.b_c:d/e-f", "a" * 64])
def test_an_id_that_keeps_the_pattern_is_taken(identifier: str) -> None:
    assert decode(json.dumps({"type": "cancel_order", "client": identifier, "order": "1"}), Command) == CancelOrder(
        client=identifier, order="1"
    )


@pytest.mark.parametrize(
    "head", ["0" * 63, "0" * 65, "G" * 64, "A" * 64, "0" * 64 + "\n"], ids=["short", "long", "no hex", "upper", "lf"]
)
def test_a_hash_is_64_lower_case_hexadecimal_digits(head: str) -> None:
    with pytest.raises(WireError, match="journal_sha256"):
        decode(json.dumps({"events": [], "seq": 1, "journal_sha256": head}), Answer)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "truncated"),
        ("{", "truncated"),
        ("nonsense", "malformed"),
        ("[]", "Expected `object`"),
        ("null", "Expected `object`"),
        ("{}", "missing required field `type`"),
        ('{"type":"explode"}', "explode"),
        ('{"type":"cancel_order","client":"a"}', "missing required field `order`"),
        ('{"type":"cancel_order","client":"a","order":"1","also":1}', "unknown field `also`"),
        ('{"type":"cancel_order","client":"a","order":null}', "Expected `str`"),
        ('{"type":"cancel_order","client":"a","order":"1"} x', "trailing"),
        ('{"type":"set_phase","phase":"lunch"}', "lunch"),
    ],
)
def test_what_is_not_of_the_expected_form_is_refused_with_what_is_wrong(text: str, said: str) -> None:
    with pytest.raises(WireError, match=said):
        decode(text, Command)


@pytest.mark.parametrize("data", [b"\xff\xfe", b'{"type":"cancel_order","client":"\xff","order":"1"}', b"\x00" * 40])
def test_bytes_that_are_no_text_are_refused(data: bytes) -> None:
    with pytest.raises(WireError):
        decode(data, Command)


def test_a_step_is_not_taken_for_a_command() -> None:
    crash = encode(Crash(in_flight=ORDER))
    assert decode(crash, Step) == Crash(in_flight=ORDER)
    with pytest.raises(WireError, match="crash"):
        decode(crash, Command)


@given(st.binary(max_size=60))
@settings(max_examples=200, deadline=None)
def test_no_bytes_make_the_reader_fail_in_any_other_way(data: bytes) -> None:
    try:
        value = decode(data, Request)
    except WireError:
        return
    assert decode(encode(value), Request) == value
