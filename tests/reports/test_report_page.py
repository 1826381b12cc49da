"""The page says what the evidence says, to every reader, and nothing from an engine is more than text on it."""

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from html.parser import HTMLParser
from itertools import pairwise
from pathlib import Path
from typing import Any

import msgspec
import pytest

from holdfast_model.evidence import Verdict
from holdfast_model.findings import GateResult, Report, StepNarrative
from holdfast_reports import AnyResult

Reports = dict[str, Callable[[], Report[AnyResult]]]
Folder = Callable[[Report[AnyResult]], Path]

VOID = {"meta", "link", "br", "img", "hr", "input"}


@dataclass
class Element:
    """An element of the page; `children` holds elements and texts in order."""

    tag: str
    attributes: dict[str, str]
    children: list["Element | str"] = field(default_factory=list)

    def all(self) -> Iterator["Element"]:
        """The element and all below it, in document order."""
        yield self
        for child in self.children:
            if isinstance(child, Element):
                yield from child.all()

    def find(self, tag: str, **attributes: str) -> list["Element"]:
        """The elements of a tag; `class_` asks for one of the classes."""
        wanted = attributes.pop("class_", None)
        return [
            element
            for element in self.all()
            if element.tag == tag
            and all(element.attributes.get(name) == value for name, value in attributes.items())
            and (wanted is None or wanted in element.classes)
        ]

    @property
    def classes(self) -> list[str]:
        return self.attributes.get("class", "").split()

    @property
    def text(self) -> str:
        """All text in it, with white space collapsed."""
        parts = [child if isinstance(child, str) else f" {child.text} " for child in self.children]
        return " ".join("".join(parts).split())


class Reader(HTMLParser):
    """Builds the tree, and insists that every element is closed in order."""

    def __init__(self) -> None:
        super().__init__()
        self.root = Element("document", {})
        self.open = [self.root]

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        element = Element(tag, {name: value or "" for name, value in attrs})
        self.open[-1].children.append(element)
        if tag not in VOID:
            self.open.append(element)

    def handle_endtag(self, tag: str) -> None:
        assert self.open[-1].tag == tag, f"</{tag}> closes <{self.open[-1].tag}>"
        self.open.pop()

    def handle_data(self, data: str) -> None:
        self.open[-1].children.append(data)


def read(out: Path) -> Element:
    reader = Reader()
    reader.feed((out / "report.html").read_text(encoding="utf-8"))
    reader.close()
    assert reader.open == [reader.root]
    return reader.root


def section(page: Element, name: str) -> Element:
    (found,) = page.find("section", id=name)
    return found


def rows(table: Element) -> list[list[str]]:
    return [[cell.text for cell in row.all() if cell.tag in ("th", "td")] for row in table.find("tr")]


def badges(element: Element) -> list[tuple[str, str]]:
    """The kind and the words of every verdict shown in an element."""
    found = []
    for badge in element.find("span", class_="badge"):
        kinds = {"held", "violated", "inconclusive", "unexercised", "neutral"} & set(badge.classes)
        assert len(kinds) == 1
        found.append((kinds.pop(), badge.text.split(maxsplit=1)[1]))
    return found


# What every page has ----------------------------------------------------------------------------------------------


def test_a_page_needs_nothing_but_itself(any_report: Report[AnyResult], folder: Folder) -> None:
    page = read(folder(any_report))
    for element in page.all():
        assert element.tag not in {"script", "iframe", "object", "embed", "form", "img", "base"}
        assert not [name for name in element.attributes if name.startswith("on") or name in {"src", "style"}]
    (policy,) = page.find("meta", **{"http-equiv": "Content-Security-Policy"})
    assert policy.attributes["content"].startswith("default-src 'none'; style-src 'sha256-")
    (style,) = page.find("style")
    assert "url(" not in style.text
    assert "@import" not in style.text


def test_every_link_leads_to_a_place_on_the_page_or_a_file_beside_it(
    any_report: Report[AnyResult], folder: Folder
) -> None:
    out = folder(any_report)
    page = read(out)
    places = [element.attributes["id"] for element in page.all() if "id" in element.attributes]
    assert len(places) == len(set(places))
    for link in page.find("a"):
        address = link.attributes["href"]
        if address.startswith("#"):
            assert address[1:] in places
        else:
            assert (out / address).is_file()
    for element in page.all():
        if "aria-labelledby" in element.attributes:
            assert element.attributes["aria-labelledby"] in places


def test_a_page_is_told_to_assistive_software(any_report: Report[AnyResult], folder: Folder) -> None:
    page = read(folder(any_report))
    (html,) = page.find("html")
    assert html.attributes["lang"] == "en"
    levels = [int(element.tag[1]) for element in page.all() if re.fullmatch("h[1-6]", element.tag)]
    assert levels.count(1) == 1
    assert all(below <= above + 1 for above, below in pairwise(levels)), "no level is skipped"
    first = next(element for element in page.all() if element.tag == "a")
    assert (first.classes, first.attributes["href"]) == (["skip"], "#main")
    for table in page.find("table"):
        assert table.attributes["role"] == "table"
        (caption,) = table.find("caption")
        assert caption.text
        (head,) = table.find("thead")
        columns = head.find("th", scope="col")
        assert all(column.text for column in columns)
        for row in table.find("tbody")[0].find("tr"):
            spans = [int(cell.attributes.get("colspan", "1")) for cell in row.all() if cell.tag in ("th", "td")]
            assert sum(spans) == len(columns)
            assert row.find("th", scope="row") or spans == [len(columns)]


def test_the_contents_list_every_section_in_reading_order(any_report: Report[AnyResult], folder: Folder) -> None:
    page = read(folder(any_report))
    (contents,) = page.find("nav")
    listed = [link.attributes["href"][1:] for link in contents.find("a")]
    found = [element.attributes["id"] for element in page.find("section") if "id" in element.attributes]
    assert listed == found
    assert listed[0] == "summary"
    assert listed[-3:] == ["not-checked", "reproduce", "glossary"]


def test_no_report_says_that_anything_complies(any_report: Report[AnyResult], folder: Folder) -> None:
    text = read(folder(any_report)).text.lower()
    assert "evidence that may support" in text
    assert not re.search(r"\bcompl(y|ies|iant|iance)\b|\bcertif(y|ies|ied)\b|\bguarantee", text)


# What a page says -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("kind", "verdict"),
    [
        ("held gate", "held"),
        ("violated gate", "violated"),
        ("inconclusive gate", "inconclusive"),
        ("diff", "violated"),
    ],
)
def test_the_verdict_stands_first_in_words_and_in_colour(
    kind: str, verdict: str, reports: Reports, folder: Folder
) -> None:
    page = read(folder(reports[kind]()))
    (banner,) = page.find("section", class_="verdict")
    assert banner.classes == ["verdict", verdict]
    assert banner.find("h2")[0].text.endswith(f"Verdict: {verdict}")
    (main,) = page.find("main")
    assert next(child for child in main.children if isinstance(child, Element)) is banner
    assert page.find("title")[0].text.endswith(f": {verdict}")


def test_the_sentence_of_a_gate_that_held_states_its_work(reports: Reports, folder: Folder) -> None:
    (sentence,) = read(folder(reports["held gate"]())).find("p", class_="in-a-sentence")
    assert sentence.text == (
        "Everything that was checked held, within the bounds stated beside each part. In all, 21 of 21 proof "
        "obligations were proved, 1,482,570 distinct model states were visited, models and the reference exchange "
        "went 150 steps together, 1 of 1 goals of the models were reached, 12,214 commands were run in 80 sequences "
        "and 3 of 3 planted faults were caught."
    )


def test_the_sentence_of_a_violated_gate_tells_the_engine_from_the_models(reports: Reports, folder: Folder) -> None:
    (sentence,) = read(folder(reports["violated gate"]())).find("p", class_="in-a-sentence")
    assert sentence.text.startswith(
        "At least one check failed: FINAL-2 was violated on the engine; CONS-1 and FINAL-1 were broken on a model; "
        "the reference exchange and 1 model differ; 1 planted fault was missed."
    )


def test_the_sentence_of_an_inconclusive_gate_names_what_is_open(reports: Reports, folder: Folder) -> None:
    (sentence,) = read(folder(reports["inconclusive gate"]())).find("p", class_="in-a-sentence")
    assert "Proof on the model spot, Exploration of the model yardstick, Link of the model" in sentence.text
    assert "the reference exchange, Shortest sequences to goals and Run maintenance" in sentence.text
    assert "does not count as a pass" in sentence.text


def test_the_summary_has_a_row_for_every_part(reports: Reports, folder: Folder) -> None:
    (table,) = section(read(folder(reports["held gate"]())), "summary").find("table")
    assert rows(table) == [
        ["Part", "Verdict", "Work done", "Time"],
        ["Proof on the model spot", "✓ held", "21 of 21 obligations proved", "2.5 s"],
        ["Exploration of the model yardstick", "✓ held", "1,482,570 distinct states, all of them", "9.8 s"],
        [
            "Link of the model exchange:slice=surge,requests=3 and the reference exchange",
            "✓ held",
            "60 steps one way, 90 moves the other",
            "not recorded",
        ],
        ["Shortest sequences to goals", "✓ held", "1 of 1 goal reached", "not recorded"],
        ["Run maintenance", "✓ held", "2,214 commands in 60 sequences", "14.2 s"],
        ["Run surge", "✓ held", "10,000 commands in 20 sequences", "11.7 s"],
        ["Planted faults", "✓ held", "3 of 3 planted faults caught", "18.1 s"],
    ]


def test_nothing_inconclusive_is_shown_as_held(reports: Reports, folder: Folder) -> None:
    page = read(folder(reports["inconclusive gate"]()))
    assert {kind for kind, _ in badges(page)} == {"inconclusive", "unexercised", "neutral"}
    assert not [element for element in page.all() if "held" in element.classes]


def test_a_part_whose_evidence_denies_its_verdict_is_not_shown_as_held(reports: Reports, folder: Folder) -> None:
    report = reports["inconclusive gate"]()
    assert isinstance(report.result, GateResult)
    gate = report.result
    forged = msgspec.structs.replace(
        report,
        verdict=Verdict.HELD,
        exit_status=0,
        result=msgspec.structs.replace(
            gate,
            proofs=tuple(msgspec.structs.replace(proof, verdict=Verdict.HELD) for proof in gate.proofs),
            explorations=tuple(msgspec.structs.replace(each, verdict=Verdict.HELD) for each in gate.explorations),
            runs=tuple(msgspec.structs.replace(run, verdict=Verdict.HELD) for run in gate.runs),
        ),
    )
    page = read(folder(forged))
    assert not [element for element in page.all() if "held" in element.classes]
    (conflict,) = page.find("p", class_="conflict")
    assert (
        "the recorded verdict is “held”, but the evidence below supports no better than “inconclusive”"
        in conflict.text
    )


def test_an_invariant_that_was_checked_zero_times_is_not_exercised(reports: Reports, folder: Folder) -> None:
    (table,) = section(read(folder(reports["violated gate"]())), "invariants").find("table")
    by_id = {row.find("span", class_="id")[0].text: row for row in table.find("tbody")[0].find("tr")}
    assert badges(by_id["SURGE-1"]) == [
        ("unexercised", "not exercised"),
        ("inconclusive", "not concluded on yardstick:bug=restore"),
    ]
    assert badges(by_id["FINAL-2"]) == [("violated", "violated")]
    assert badges(by_id["FINAL-1"]) == [("held", "held"), ("violated", "refuted on spot:bug=restore")]
    assert "An order that was filled, cancelled or refused never becomes open again." in by_id["FINAL-1"].text


def test_a_counterexample_is_told_step_by_step_with_the_command_that_runs_it(
    reports: Reports, folder: Folder
) -> None:
    out = folder(reports["violated gate"]())
    page = read(out)
    names = [element.attributes["id"] for element in page.find("section") if "id" in element.attributes]
    assert names.index("violations") < names.index("invariants"), "violations come first"
    article = section(page, "violations").find("article")[0]
    steps = article.find("ol")[0].find("li")
    steps = [step for step in steps if step.find("p", class_="did")]
    assert [step.find("p", class_="did")[0].text for step in steps][1] == "Take a snapshot"
    assert [bool(step.find("p", class_="breaks")) for step in steps] == [False, False, False, True]
    (first,) = steps[0].find("ul", class_="changes")[0].find("li")
    assert [span.text for span in first.find("span")] == ["alice USDT free", "0", "1000000000000000000"]
    assert article.find("pre")[0].text == "holdfast replay counterexamples/FINAL-2-1.json"
    assert "order alice/1 is unknown to the exchange" in article.find("div", class_="found")[0].text
    (digest,) = article.find("code", class_="digest")
    assert digest.text in (out / "SHA256SUMS").read_text()


def test_a_counterexample_on_a_stdio_engine_names_the_engine_to_run(reports: Reports, folder: Folder) -> None:
    page = read(folder(_gate_with(reports["violated gate"](), engine="stdio:python -m exchange; rm -rf /")))
    command = section(page, "violations").find("pre")[0].text
    assert command == "holdfast replay counterexamples/FINAL-2-1.json --engine 'stdio:python -m exchange; rm -rf /'"


def test_a_counterexample_that_is_not_there_is_said_to_be_missing(reports: Reports, tmp_path: Path) -> None:
    from holdfast_reports import render  # noqa: PLC0415 - without the counterexamples that the fixture writes

    render(reports["violated gate"](), tmp_path)
    assert "The file was not there when this report was written." in section(read(tmp_path), "violations").text


def test_proofs_show_each_open_obligation_with_its_reason(reports: Reports, folder: Folder) -> None:
    proofs = section(read(folder(reports["violated gate"]())), "proofs")
    table = proofs.find("table")[0]
    assert rows(table)[1:] == [
        ["CONS-1 accounts_sum_to_zero", "? inconclusive", "5", "0", "1", "1"],
        ["FINAL-1 terminal_status_is_absorbing", "✗ refuted", "6", "1", "0", "0"],
        ["FINAL-1 live_state_is_replay_of_log auxiliary", "✓ proved", "7", "0", "0", "0"],
    ]
    (refuted,) = proofs.find("article", class_="finding")
    assert [item.text for item in refuted.find("ul", class_="changes")[0].find("li")] == [
        "status[o1] FILLED → RESTING",
        "phase DOWN → OPEN",
    ]
    unknown, not_attempted = proofs.find("article", class_="unknown")
    assert "the solver gave up after 2,000,000 units of work" in unknown.text
    assert "the guard clock ran out" in not_attempted.text
    assert [pair.text for pair in proofs.find("dl", class_="bounds")[0].find("div")] == [
        "accounts 2",
        "orders 2",
        "amounts unbounded integers",
    ]


def test_sequences_to_goals_show_what_was_replayed_and_what_differed(reports: Reports, folder: Folder) -> None:
    sought = section(read(folder(reports["violated gate"]())), "witnesses")
    assert "step 2, restore: up is true in the model, <b>false</b> in the exchange" in sought.text
    assert ("violated", "differs") in badges(sought)
    held = section(read(folder(reports["held gate"]())), "witnesses")
    assert ("held", "replayed") in badges(held)
    assert ("violated", "differs") not in badges(held)
    none = section(read(folder(reports["inconclusive gate"]())), "witnesses")
    assert ("inconclusive", "not reached") in badges(none)
    assert ("held", "replayed") not in badges(none)


def test_links_show_the_first_difference_and_the_way_to_it(reports: Reports, folder: Folder) -> None:
    links = section(read(folder(reports["violated gate"]())), "links")
    assert "In walk 2, after 3 steps: 1 in the model, <b>0</b> in the exchange." in links.text
    assert "Passed over 4 times: the replica caught up at once where the model's standby lags." in links.text
    assert ("neutral", "not taken") in badges(links)
    assert ("violated", "differs") in badges(links)
    assert [step.text for step in links.find("p", class_="did")] == [
        "deposit(u1, USDT, amount=1)",
        "send(q1)",
        "send(q2)",
    ]
    held = section(read(folder(reports["held gate"]())), "links")
    assert ("violated", "differs") not in badges(held)
    assert "walks of the model 2" in [pair.text for pair in held.find("dl", class_="bounds")[0].find("div")]


def test_explorations_flag_what_never_happened(reports: Reports, folder: Folder) -> None:
    explorations = section(read(folder(reports["violated gate"]())), "explorations")
    assert "Not every state was seen: the search was stopped by the first violation" in explorations.text
    assert ("neutral", "never enabled") in badges(explorations)
    assert ("inconclusive", "vacuous") in badges(explorations)
    assert ("inconclusive", "not reached") in badges(explorations)
    assert "restored The exchange came back. 3" in explorations.text
    assert "A shortest way to a state without a next step: init → snapshot() → deposit(a1, USDT)" in explorations.text
    trace = explorations.find("ol", class_="steps")[0]
    assert [step.text for step in trace.find("p", class_="did")] == [
        "init",
        "snapshot()",
        "deposit(a1, USDT)",
        "restore()",
    ]
    assert [item.text for item in trace.find("li", class_="broken")[0].find("li")[1:]] == ["free[a1,USDT] 3 → 2"]


def test_the_fault_matrix_marks_the_invariant_that_did_not_fire(reports: Reports, folder: Folder) -> None:
    faults = section(read(folder(reports["violated gate"]())), "faults")
    table = faults.find("table", class_="faults")[0]
    by_fault = {row.find("span", class_="id")[0].text: row for row in table.find("tbody")[0].find("tr")}
    assert badges(by_fault["stale-snapshot-restore"]) == [("held", "caught")]
    assert badges(by_fault["rounding-the-wrong-way"]) == [("violated", "missed")]
    assert [chip.text for chip in by_fault["rounding-the-wrong-way"].find("span", class_="missing")] == [
        "CONS-1 did not fire"
    ]
    assert "Re-enacts backpack-2025-07-03, paradex-2026-01-19" in by_fault["queue-priority-lost"].text


def test_goals_and_gaps_are_listed(reports: Reports, folder: Folder) -> None:
    page = read(folder(reports["violated gate"]()))
    goals = rows(section(page, "goals").find("table")[0])[1:]
    assert ["order filled across a crash", "17", "✓ reached"] in goals
    assert ["promotion of a stale standby", "0", "• not reached"] in goals
    gaps = rows(section(page, "not-checked").find("table")[0])[1:]
    assert ["Margin, liquidation and deleveraging", "the engine declares no margin"] in gaps


@pytest.mark.parametrize(
    ("kind", "command"),
    [
        ("held gate", "holdfast gate --profile smoke --engine reference --seed 20250703"),
        ("diff", "holdfast diff --engine nodejs-order-book --commands 20000 --seed 20250703"),
        ("fuzz", "holdfast fuzz --engine fault:stale-snapshot-restore --commands 2214 --seed 7"),
        ("faults", "holdfast faults"),
        ("prove", "holdfast prove CONS-1 FINAL-1 --model spot"),
        ("explore", "holdfast explore --model yardstick"),
    ],
)
def test_the_page_says_how_to_do_the_same_again(kind: str, command: str, reports: Reports, folder: Folder) -> None:
    reproduce = section(read(folder(reports[kind]())), "reproduce")
    assert reproduce.find("pre")[0].text == command
    environment = rows(reproduce.find("table")[0])
    assert ["commit", "159e321"] in environment


def test_a_recorded_command_line_is_repeated_as_it_was_given(reports: Reports, folder: Folder) -> None:
    report = reports["held gate"]()
    given = "holdfast gate --out /tmp/x"
    report = msgspec.structs.replace(report, environment=report.environment | {"command_line": given})
    assert section(read(folder(report)), "reproduce").find("pre")[0].text == given


def test_a_comparison_shows_findings_before_conventions(reports: Reports, folder: Folder) -> None:
    page = read(folder(reports["diff"]()))
    differences = section(page, "differences")
    finding, explained = differences.find("article")
    assert badges(finding) == [("violated", "finding")]
    assert badges(explained) == [("neutral", "convention: market-order-remainder")]
    assert "5 commands at its smallest, met in 12 sequences" in finding.text
    assert finding.find("ol", class_="steps")
    assert ["market-order-remainder", "README.md, section Market orders"] in rows(differences.find("table")[0])
    assert ["balances", "0", "• never compared"] in rows(section(page, "compared").find("table")[0])


# Hostile text -----------------------------------------------------------------------------------------------------


def _gate_with(report: Report[AnyResult], **changes: object) -> Report[AnyResult]:
    assert isinstance(report.result, GateResult)
    return msgspec.structs.replace(report, result=msgspec.structs.replace(report.result, **changes))


def _everywhere(value: Any, text: str) -> Any:  # noqa: ANN401 - any JSON value
    """The value with every free text replaced; verdicts, schema and command stay."""
    match value:
        case dict():
            fixed = {"verdict", "schema", "command", "kind", "method"}
            return {key: item if key in fixed else _everywhere(item, text) for key, item in value.items()}
        case list() | tuple():
            return [_everywhere(item, text) for item in value]
        case str():
            return text
        case _:
            return value


HOSTILE = {
    "markup": "<script>alert(1)</script><img src=x onerror=alert(1)>",
    "attribute": "\"' onmouseover='alert(1)' x=\"",
    "style": "</style><style>*{display:none}</style>",
    "template": "{{ 7 * 7 }}{% for x in y %}",
    "comment": "--><!-- <![CDATA[ ]]>",
    "control": "a\x00b\x08c\x1b[2Jd\x7f",
    "direction": "\u202etxt.exe\u2066\u200f",
    "invisible": "pay\u200bme\u00ad\ufeff",
    "marks": "e" + "\u0301" * 500,
    "lines": "one\r\ntwo\u2028three",
    "surrogate": "\ud800",
    "address": "javascript:alert(1)",
}


@pytest.mark.parametrize("kind", ["violated gate", "diff", "fuzz", "inconclusive gate"])
@pytest.mark.parametrize("text", HOSTILE.values(), ids=HOSTILE)
def test_hostile_text_is_inert_wherever_it_stands(text: str, kind: str, reports: Reports, folder: Folder) -> None:
    report = reports[kind]()
    clean = read(folder(report))
    hostile = msgspec.convert(_everywhere(msgspec.to_builtins(report), text), Report[type(report.result)])  # type: ignore[misc]
    out = folder(hostile)
    page = read(out)
    assert {element.tag for element in page.all()} <= {element.tag for element in clean.all()} | {"strong"}
    assert {name for element in page.all() for name in element.attributes} <= {
        name for element in clean.all() for name in element.attributes
    }
    for link in page.find("a"):
        assert re.fullmatch(r"#[a-z0-9-]+|report\.json", link.attributes["href"])
    assert "49" not in page.find("h1")[0].text
    assert not re.search(
        "[\x00-\x08\x0b-\x1f\x7f-\x9f\u200b-\u200f\u2028-\u202e\u2066-\u2069\ufeff\u00ad]", page.text
    )
    assert "\u0301" * 4 not in page.text


def test_what_cannot_be_seen_is_shown_marked(reports: Reports, folder: Folder) -> None:
    page = read(folder(_gate_with(reports["held gate"](), engine_version="1.0\x00\u202e")))
    (heading,) = page.find("h1")
    assert [mark.text for mark in heading.find("span", class_="mark")] == ["\\x00\\u202e"]


def test_a_megabyte_of_text_is_cut_with_its_length(reports: Reports, folder: Folder) -> None:
    report = reports["violated gate"]()
    assert isinstance(report.result, GateResult)
    text = "x" * 1_000_000
    step = StepNarrative(step=text, answers=(text,), changes=(f"a: {text} -> {text}",), violations=(text,))
    summary = msgspec.structs.replace(
        report.result.counterexamples[0], file=text, sentence=text, found=text, narrative=(step,)
    )
    out = folder(_gate_with(report, engine_version=text, counterexamples=(summary,), reached={text: 1}))
    assert (out / "report.html").stat().st_size < 100_000
    page = read(out)
    assert re.search(r"x … \[cut: [0-9,]+ characters in all\]$", page.find("h1")[0].text)
    assert "[cut: 1,000,000 characters in all]" in section(page, "goals").text


def test_a_narrative_of_many_steps_is_cut_with_its_length(reports: Reports, folder: Folder) -> None:
    report = reports["violated gate"]()
    assert isinstance(report.result, GateResult)
    step = StepNarrative(step="again", answers=("yes",) * 500, changes=("a: 0 -> 1",) * 500)
    summary = msgspec.structs.replace(report.result.counterexamples[0], narrative=(step,) * 5_000)
    out = folder(_gate_with(report, counterexamples=(summary,)))
    article = section(read(out), "violations").find("article")[0]
    assert "the first 60 of 5,000. All are in counterexamples/FINAL-2-1.json." in article.text
    assert "the first 40 of 500" in article.text
    assert (out / "report.html").stat().st_size < 1_000_000
