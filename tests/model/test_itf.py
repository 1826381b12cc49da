"""Traces as ITF files: written and read back, checked to be paths, and refused with a place where they are not."""

import json
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import itf_py
import pytest

from holdfast_model.checkers.explore import explore
from holdfast_model.checkers.prove import prove
from holdfast_model.errors import HoldfastError
from holdfast_model.evidence import TraceState
from holdfast_model.spec import Model, State
from holdfast_model.spec.shapes import printed_values
from holdfast_model.specs import load_model
from holdfast_model.specs.registry import list_models
from holdfast_model.traces import Shows, follow, is_itf, model_of, narrated, read_itf, trace_of_refutation, write_itf
from holdfast_model.traces.itf import ACTION_TAKEN, NONDET_PICKS, STATES_MAX, ItfTrace
from holdfast_model.traces.narrating import changes

SLICES = [
    f"exchange:slice={name}" for entry in list_models() for name in (*entry.slices, *["all"] * bool(entry.parts))
]
BUG = "exchange:slice=trading,bug=double-fill"


def walk(model: Model, steps: int) -> list[TraceState]:
    """A random path with what led to each state."""
    chance = random.Random(5)  # noqa: S311 - a test's walk, not a secret
    state = model.initial
    trace = [TraceState(action="init", state=model.show(state))]
    for _ in range(steps):
        following = [(i, after) for i, after in model.successors(state) if not model.outside(after)]
        if not following:
            break
        instance, state = chance.choice(following)
        trace.append(TraceState(action=instance.label, state=model.show(state)))
    return trace


def file_of(folder: Path, model: Model, trace: list[TraceState], shows: Shows | None = None) -> Path:
    path = folder / "trace.itf.json"
    write_itf(path, model, trace, shows)
    return path


def read(path: Path, model: Model) -> ItfTrace:
    return read_itf(path, path.read_bytes(), model)


def document_of(path: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(path.read_text())
    return found


@pytest.mark.parametrize("name", ["yardstick", "spot", *SLICES])
def test_a_path_comes_back_from_its_file_and_is_a_path(name: str, tmp_path: Path) -> None:
    model = load_model(name)
    trace = walk(model, 5)
    path = file_of(tmp_path, model, trace)
    data = path.read_bytes()
    assert is_itf(data)
    assert model_of(data) == model.name
    found = read(path, model)
    assert found.states == tuple(printed_values(model, state.state) for state in trace)
    followed = follow(model, found.states, found.moves)
    assert followed.differences == ()
    assert followed.trace == tuple(trace)
    document = document_of(path)
    assert document["vars"] == [*document["states"][0].keys()][1:]
    assert [state["#meta"]["index"] for state in document["states"]] == list(range(len(trace)))


@pytest.mark.parametrize("name", ["yardstick:log=2", "exchange:slice=custody+replication", "exchange:slice=margin"])
def test_the_library_of_the_format_reads_what_is_written_and_writes_what_is_read(name: str, tmp_path: Path) -> None:
    model = load_model(name)
    path = file_of(tmp_path, model, walk(model, 4))
    expected = read(path, model)
    document = document_of(path)
    rewritten = itf_py.trace_to_json(itf_py.trace_from_json(document))
    assert rewritten["states"] == document["states"]
    assert rewritten["vars"] == document["vars"]
    path.write_text(json.dumps(rewritten))
    assert read(path, model).states == expected.states


def test_a_file_has_the_forms_of_the_format(tmp_path: Path) -> None:
    model = load_model("yardstick")
    trace = explore(load_model("yardstick:bug=restore"), states_max=200_000).violations[0].trace
    document = document_of(file_of(tmp_path, load_model("yardstick:bug=restore"), list(trace)))
    first, second = document["states"][:2]
    assert first["mode"] == "up"
    assert first["outside"] == {"#map": [["B", {"#bigint": "2"}], ["Q", {"#bigint": "4"}]]}
    assert first["live"]["free"]["#map"][1] == [{"#tup": ["u1", "Q"]}, {"#bigint": "2"}]
    assert first["log"]["#map"][0][1]["kind"] == "none"
    assert first["#meta"] == {"index": 0, "action": "init", "arguments": {}}
    assert second["#meta"]["action"] in {action.name for action in model.actions}
    assert second["#meta"]["arguments"]["account"] in {"u1", "u2"}
    assert document["#meta"]["format"] == "ITF"


def test_a_trace_that_records_no_actions_is_followed_by_any_that_lead_there(tmp_path: Path) -> None:
    model = load_model("spot")
    trace = walk(model, 6)
    path = file_of(tmp_path, model, trace)
    document = document_of(path)
    for state in document["states"]:
        del state["#meta"]
    del document["#meta"]
    path.write_text(json.dumps(document))
    assert model_of(path.read_bytes()) is None
    found = read(path, model)
    assert found.moves == (None,) * len(trace)
    followed = follow(model, found.states, found.moves)
    assert followed.differences == ()
    assert [state.state for state in followed.trace] == [state.state for state in trace]


def test_small_integers_and_records_for_functions_of_strings_are_read_too(tmp_path: Path) -> None:
    model = load_model("yardstick")
    path = file_of(tmp_path, model, walk(model, 2))
    expected = read(path, model)
    document = document_of(path)
    for state in document["states"]:
        state["outside"] = {key: int(value["#bigint"]) for key, value in state["outside"]["#map"]}
    path.write_text(json.dumps(document))
    assert read(path, model).states == expected.states


@pytest.mark.parametrize("recorded", [True, False])
def test_a_changed_state_is_shown_as_the_first_step_that_differs(recorded: bool, tmp_path: Path) -> None:  # noqa: FBT001 - a case
    model = load_model("yardstick")
    path = file_of(tmp_path, model, walk(model, 5))
    document = document_of(path)
    for state in document["states"]:
        if not recorded:
            del state["#meta"]["action"]
    document["states"][3]["live"]["free"]["#map"][2][1] = {"#bigint": "4"}
    path.write_text(json.dumps(document))
    found = read(path, model)
    followed = follow(model, found.states, found.moves)
    assert {difference.step for difference in followed.differences} == {3}
    assert len(followed.trace) == 3
    (difference,) = (d for d in followed.differences if d.subject == "live.free[u2, B]")
    assert difference.found == "4"
    told = narrated(followed.trace, differences=followed.differences)
    assert told[-1].violations[0].startswith("live.free[u2, B]: recorded 4; the model has ")


def test_a_step_whose_guard_is_false_is_a_difference(tmp_path: Path) -> None:
    model = load_model("yardstick")
    path = file_of(
        tmp_path, model, [TraceState(action=a, state=model.show(model.initial)) for a in ("init", "resume")]
    )
    found = read(path, model)
    (difference,) = follow(model, found.states, found.moves).differences
    assert (difference.step, difference.subject) == (1, "resume")
    assert difference.expected == "its guard is false in the state before"


def test_a_trace_that_starts_elsewhere_is_no_path(tmp_path: Path) -> None:
    model = load_model("yardstick")
    path = file_of(tmp_path, model, walk(model, 3)[1:])
    document = document_of(path)
    document["states"][0]["#meta"]["action"] = "init"
    path.write_text(json.dumps(document))
    found = read(path, model)
    followed = follow(model, found.states, found.moves)
    assert {d.step for d in followed.differences} == {0}
    assert followed.trace == ()


def test_a_loop_must_be_closed_by_a_step(tmp_path: Path) -> None:
    model = load_model("yardstick")
    path = tmp_path / "trace.itf.json"
    halted = model.step(next(i for i in model.instances() if i.label == "halt"), model.initial)
    assert halted is not None
    trace = [
        TraceState(action="init", state=model.show(model.initial)),
        TraceState(action="halt", state=model.show(halted)),
    ]
    write_itf(path, model, trace)
    for loop, steps in ((0, 3), (1, 2)):
        document = document_of(path)
        document["loop"] = loop
        path.write_text(json.dumps(document))
        found = read(path, model)
        followed = follow(model, found.states, found.moves, loop=found.loop)
        assert len(followed.trace) == steps
        # `resume` leads back to the first state; nothing leads from the halted exchange to itself.
        assert bool(followed.differences) == (loop == 1)


def test_the_counterexamples_of_a_search_break_on_their_path_what_they_say(tmp_path: Path) -> None:
    model = load_model(BUG)
    found = explore(model)
    assert found.violations
    for violation in found.violations:
        shows = Shows(kind="violation", name=violation.invariant, property=violation.property)
        path = file_of(tmp_path, model, list(violation.trace), shows)
        recorded = read(path, model)
        assert recorded.shows == shows
        followed = follow(model, recorded.states, recorded.moves)
        last = len(recorded.states) - 1
        assert (violation.invariant, violation.property, last) in {
            (v.invariant, v.subject, v.step) for v in followed.violations
        }


def test_a_refutation_starts_where_induction_assumes_and_its_step_breaks_the_property(tmp_path: Path) -> None:
    model = load_model(BUG)
    refuted = [o for o in prove(model).obligations if o.verdict == "refuted"]
    assert refuted
    for obligation in refuted:
        path = file_of(tmp_path, model, list(trace_of_refutation(model, obligation)))
        recorded = read(path, model)
        assert recorded.assumed
        followed = follow(model, recorded.states, recorded.moves, assumed=True)
        assert followed.differences == ()
        assert obligation.property in {v.subject for v in followed.violations}
        assert {v.step for v in followed.violations} == {1}


def test_integers_beyond_the_search_and_beyond_json_numbers_survive(tmp_path: Path) -> None:
    model = load_model("spot")
    instance = next(i for i in model.instances() if i.action.name == "deposit")
    amount = 10**40
    after = model.step(type(instance)(instance.action, (*instance.arguments[:-1], amount)), model.initial)
    assert after is not None
    label = instance.label.rpartition("=")[0] + f"={amount})"
    trace = [
        TraceState(action="init", state=model.show(model.initial)),
        TraceState(action=label, state=model.show(after)),
    ]
    found = read(file_of(tmp_path, model, trace), model)
    assert amount in found.states[1]
    assert follow(model, found.states, found.moves).differences == ()


def quint(state: dict[str, Any], action: str, picks: object) -> None:
    """Say what led to a state as Quint does."""
    state.pop("#meta")
    state.update({ACTION_TAKEN: action, NONDET_PICKS: picks})


def test_the_actions_that_quint_records_are_read(tmp_path: Path) -> None:
    model = load_model("yardstick")
    path = file_of(tmp_path, model, walk(model, 4))
    expected = read(path, model)
    document = document_of(path)
    for state in document["states"]:
        meta = dict(state["#meta"])
        given = {name: {"tag": "Some", "value": value} for name, value in meta["arguments"].items()}
        quint(state, meta["action"], {"unused": {"tag": "None", "value": {"#tup": []}}, **given})
    document["vars"] += [ACTION_TAKEN, NONDET_PICKS] * 2
    path.write_text(json.dumps(document))
    found = read(path, model)
    assert found.moves == expected.moves
    assert any(move is not None and move.arguments for move in found.moves)


def changed(path: Path, change: Callable[[dict[str, Any]], object]) -> Path:
    document = document_of(path)
    change(document)
    path.write_text(json.dumps(document))
    return path


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda d: d.update(vars="mode"), "`vars`: found 'mode'; expected an array of the names"),
        (lambda d: d["vars"].remove("mode"), "`vars`: found no 'mode'; expected all variables: mode, live"),
        (lambda d: d.update(states=[]), r"`states`: found \[\]; expected an array of at least one state"),
        (lambda d: d.update(states=[1]), "state 0: found 1; expected an object"),
        (lambda d: d.update(states=[{}] * (STATES_MAX + 1)), "100001 states; at most 100000"),
        (lambda d: d.update(loop=9), r"`loop`: found 9; expected the number of a state, 0\.\.3"),
        (lambda d: d.update(loop=True), "`loop`: found True"),
        (lambda d: d["states"][2].pop("mode"), "state 2: no value for `mode`"),
        (lambda d: d["states"][2].update(mood="up"), "state 2: found 'mood'; expected one of the variables mode"),
        (lambda d: d["states"][2].update(mode="UP"), "state 2, mode: found 'UP'; expected one of up, halted, down"),
        (lambda d: d["states"][2].update(mode={"#bigint": "1"}), "state 2, mode: found {'#bigint': '1'}"),
        (
            lambda d: d["states"][2]["live"].pop("held"),
            r"state 2, live: found .*; expected a record with the fields free",
        ),
        (
            lambda d: d["states"][2]["live"].update(placed_next="1"),
            r"state 2, live\.placed_next: found '1'; expected an integer",
        ),
        (
            lambda d: d["states"][2]["live"].update(placed_next=1.0),
            r"live\.placed_next: found 1\.0; expected an integer",
        ),
        (
            lambda d: d["states"][2]["live"].update(placed_next=True),
            r"live\.placed_next: found True; expected an integer",
        ),
        (lambda d: d["states"][2]["live"].update(placed_next=2**53), r"live\.placed_next: found 9007199254740992"),
        (lambda d: d["states"][2]["live"].update(placed_next={"#bigint": "9" * 1001}), r"at most 1000 digits"),
        (lambda d: d["states"][2]["live"].update(placed_next={"#bigint": "1_0"}), r"live\.placed_next: found"),
        (
            lambda d: d["states"][2]["outside"]["#map"].pop(),
            "state 2, outside: found 1 keys; expected all 2 of Asset",
        ),
        (lambda d: d["states"][2]["outside"]["#map"].append(["B", 1]), "the key 'B' twice"),
        (lambda d: d["states"][2]["outside"]["#map"].append(["C", 1]), "in a key: found 'C'; expected one of B, Q"),
        (lambda d: d["states"][2]["outside"]["#map"].append(["B"]), "expected a pair of key and value"),
        (lambda d: d["states"][2].update(outside=[1, 2]), r"state 2, outside: found \[1, 2\]; expected {\"#map\""),
        (lambda d: d["states"][2]["live"]["free"]["#map"][0].__setitem__(0, "u1"), "expected a key of 2 members"),
        (lambda d: d["states"][0]["#meta"].update(action="halt"), "expected 'init' or 'assumed' at the first state"),
        (lambda d: d["states"][2]["#meta"].update(action=1), "#meta.action: found 1; expected the name of an action"),
        (
            lambda d: d["states"][2]["#meta"].update(action="run"),
            "#meta.action: found 'run'; expected one of deposit",
        ),
        (lambda d: quint(d["states"][2], "run", {}), "mbt::actionTaken: found 'run'; expected one of deposit"),
        (lambda d: quint(d["states"][2], "deposit", []), r"mbt::nondetPicks: found \[\]; expected a value for each"),
        (lambda d: quint(d["states"][2], "deposit", {}), "mbt::nondetPicks.account: found nothing; expected"),
        (
            lambda d: d["states"][2]["#meta"].update(action="deposit", arguments={}),
            r"#meta\.arguments\.account: found nothing; expected an integer",
        ),
        (lambda d: d["#meta"]["holdfast"].update(shows=1), "#meta.holdfast.shows: "),
    ],
)
def test_what_is_wrong_with_a_file_is_said_with_its_place(
    change: Callable[[dict[str, Any]], object], message: str, tmp_path: Path
) -> None:
    model = load_model("yardstick")
    path = changed(file_of(tmp_path, model, walk(model, 3)), change)
    with pytest.raises(HoldfastError, match=rf"trace\.itf\.json: .*{message}"):
        read(path, model)


def test_an_argument_that_is_no_member_is_refused_when_the_step_is_taken(tmp_path: Path) -> None:
    model = load_model("yardstick")
    some = {"tag": "Some", "value": "u9"}
    path = changed(
        file_of(tmp_path, model, walk(model, 1)),
        lambda d: quint(d["states"][1], "deposit", {"account": some, "asset": some}),
    )
    found = read(path, model)
    with pytest.raises(
        HoldfastError, match="state 1: argument 'account' of 'deposit' is 'u9'; expected one of: u1, u2"
    ):
        follow(model, found.states, found.moves)


@pytest.mark.parametrize("data", [b"", b"[]", b"{}", b'{"vars": []}', b"\xff", b'{"vars": [], "states"'])
def test_other_files_are_no_traces(data: bytes) -> None:
    assert not is_itf(data)


def test_deep_nesting_and_broken_meta_end_in_a_message(tmp_path: Path) -> None:
    model = load_model("yardstick")
    deep = b'{"vars": [], "states": ' + b"[" * 100_000 + b"]" * 100_000 + b"}"
    assert not is_itf(deep) or model_of(deep) is None
    with pytest.raises(HoldfastError, match="no JSON of a trace"):
        read_itf(tmp_path / "deep.itf.json", deep, model)
    assert model_of(b'{"#meta": [1], "vars": [], "states": []}') is None


def test_changes_are_what_differs_and_nothing_else(walk_of: Callable[..., list[State]]) -> None:
    model = load_model("spot")
    for state in walk_of(model, walks=1, steps=5):
        for _, after in model.successors(state):
            told = changes(model.show(state), model.show(after))
            assert len(told) == sum(one != other for one, other in zip(state, after, strict=True))
            for line in told:
                name, _, values = line.partition(": ")
                before, _, new = values.partition(" -> ")
                assert (model.show(state)[name], model.show(after)[name]) == (before, new)


def test_any_number_of_members_has_no_file(tmp_path: Path) -> None:
    model = load_model("spot")
    trace = walk(model, 1)
    with pytest.raises(HoldfastError, match="any number of accounts; expected a number of them"):
        write_itf(tmp_path / "t.itf.json", model.with_any_number_of("accounts"), trace)
