"""The page: one self-contained HTML file that needs no script, no font and no other file.

Every text from the evidence is untrusted. The template prints nothing raw: whatever stands between `{{ }}` passes
`_shown`, which escapes it, makes unprintable characters visible and cuts what is too long. Attribute values come only
from `Markup` made here. The content security policy of the page forbids scripts, requests and any style but its own.
"""

import base64
import hashlib
import math
import re
import shlex
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import cache, partial
from importlib import resources
from itertools import pairwise
from typing import TYPE_CHECKING, TypeVar

from markupsafe import Markup, escape

from holdfast_model.evidence import Obligation, ObligationVerdict, TraceState, Verdict
from holdfast_model.findings import (
    ContractOutcome,
    FaultOutcome,
    FaultVerdict,
    GateResult,
    InvariantCoverage,
    Run,
    Violation,
)
from holdfast_reports.dossier import VERDICT_BY_OUTCOME, Dossier, Part, counted, run_verdict, unexplained
from holdfast_reports.glossary import GLOSSARY
from holdfast_reports.sums import is_safe_path
from holdfast_reports.text import SENTENCE_CHARACTERS_MAX, visible_runs
from holdfast_reports.words import meaning, reproduction, sentence, title

if TYPE_CHECKING:
    import jinja2

COUNTEREXAMPLES_MAX = 40
STEPS_MAX = 60
LINES_MAX = 40
ROWS_MAX = 400
VARIABLES_MAX = 120

_CHANGE = re.compile(r"(?P<name>[^:]{1,200}): (?P<before>.{0,400}?) -> (?P<after>.{0,400})", re.DOTALL)

Item = TypeVar("Item")


@dataclass(frozen=True, slots=True)
class Badge:
    """A verdict in a word: `kind` is its colour, and never its only sign."""

    kind: Markup
    icon: str
    label: str


HELD = Badge(Markup("held"), "✓", "held")
VIOLATED = Badge(Markup("violated"), "✗", "violated")
INCONCLUSIVE = Badge(Markup("inconclusive"), "?", "inconclusive")
UNEXERCISED = Badge(Markup("unexercised"), "○", "not exercised")
NEUTRAL = Badge(Markup("neutral"), "•", "")

BADGE_BY_VERDICT = {
    Verdict.HELD: HELD,
    Verdict.VIOLATED: VIOLATED,
    Verdict.INCONCLUSIVE: INCONCLUSIVE,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class ProvedProperty:
    """The obligations of one property, counted by verdict."""

    invariant: str
    name: str
    auxiliary: bool
    obligations: tuple[Obligation, ...]

    def count(self, verdict: str) -> int:
        """How many obligations have the verdict."""
        return sum(obligation.verdict == verdict for obligation in self.obligations)

    @property
    def badge(self) -> Badge:
        """The property is held when all its obligations are proved."""
        if self.count(ObligationVerdict.REFUTED):
            return _labelled(VIOLATED, "refuted")
        proved = self.count(ObligationVerdict.PROVED) == len(self.obligations)
        return _labelled(HELD, "proved") if proved else INCONCLUSIVE


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """One variable before and after an action."""

    name: str
    before: str
    after: str


def page(dossier: Dossier, sums: dict[str, str]) -> bytes:
    """The report as one HTML file, given the SHA-256 of the files of evidence that were there."""
    style = _resource("report.css")
    hashed = base64.b64encode(hashlib.sha256(style.encode("utf-8")).digest()).decode("ascii")
    html = _template().render(
        dossier=dossier,
        result=dossier.report.result,
        report=dossier.report,
        is_gate=isinstance(dossier.report.result, GateResult),
        style=Markup(style),  # noqa: S704 - our own file
        style_hash=Markup(hashed),  # noqa: S704 - base64
        title=title(dossier),
        sentence=sentence(dossier),
        meaning=meaning(dossier),
        reproduction=reproduction(dossier),
        glossary=GLOSSARY,
        sums=sums,
        sections=_sections(dossier),
        verdict=BADGE_BY_VERDICT[dossier.verdict],
        run_violations=_run_violations(dossier),
        on_models=_on_models(dossier),
        healthy_verdict=run_verdict(dossier.faults[1].healthy) if dossier.faults else Verdict.INCONCLUSIVE,
        findings=unexplained(dossier.diff[1]) if dossier.diff else (),
    )
    return html.lstrip().encode("utf-8")


def _sections(dossier: Dossier) -> tuple[tuple[Markup, str], ...]:
    """The sections of the page in reading order: anchor and heading."""
    gate = isinstance(dossier.report.result, GateResult)
    diff = dossier.diff
    present = (
        ("summary", "Summary", True),
        ("violations", "What was violated", _is_anything_violated(dossier)),
        ("differences", "Differences from the reference", diff is not None),
        ("invariants", "Invariants", bool(dossier.invariants) or gate),
        ("proofs", "Proofs", bool(dossier.proofs) or gate),
        ("explorations", "Explorations", bool(dossier.explorations) or gate),
        ("links", "Models and the reference exchange", bool(dossier.links) or gate),
        ("witnesses", "Shortest sequences to goals", dossier.witnesses is not None or gate),
        ("contracts", "Contracts", dossier.contracts is not None),
        ("runs", "Runs", bool(dossier.runs) or gate),
        ("faults", "Planted faults", dossier.faults is not None or gate),
        ("goals", "Goals reached", bool(dossier.reached) or gate),
        ("compared", "What was compared", diff is not None),
        ("not-checked", "What was not checked", True),
        ("reproduce", "How to reproduce", True),
        ("glossary", "Glossary", True),
    )
    return tuple((Markup(anchor), heading) for anchor, heading, there in present if there)  # noqa: S704 - literals above


def _is_anything_violated(dossier: Dossier) -> bool:
    violated = any(part.verdict is Verdict.VIOLATED for part in dossier.parts if dossier.diff is None)
    return violated or bool(dossier.counterexamples) or bool(_run_violations(dossier))


def _run_violations(dossier: Dossier) -> tuple[tuple[Run, Violation], ...]:
    """Every violation that a run recorded, the healthy engine's among the faults included."""
    runs = [run for _, run in dossier.runs]
    if dossier.faults:
        runs.append(dossier.faults[1].healthy)
    return tuple((run, violation) for run in runs for violation in run.violations)


def _on_models(dossier: Dossier) -> dict[str, list[tuple[Badge, Markup]]]:
    """What the proofs and explorations say about each invariant: badge and anchor of the part."""
    found: dict[str, list[tuple[Badge, Markup]]] = {}
    for part, proof in dossier.proofs:
        for row in _properties(proof.obligations):
            if row.auxiliary:
                continue
            words = {HELD.kind: "proved", VIOLATED.kind: "refuted", INCONCLUSIVE.kind: "not concluded"}
            badge = _labelled(row.badge, f"{words[row.badge.kind]} on {proof.model}")
            found.setdefault(row.invariant, []).append((badge, _anchor(part)))
    for part, exploration in dossier.explorations:
        violated = {violation.invariant for violation in exploration.violations}
        for invariant in dict.fromkeys([row.invariant for row in exploration.properties] + sorted(violated)):
            states = [row.states for row in exploration.properties if row.invariant == invariant]
            if invariant in violated:
                badge = _labelled(VIOLATED, f"violated on {exploration.model}")
            elif exploration.complete and all(states):
                badge = _labelled(HELD, f"explored on {exploration.model}")
            else:
                badge = _labelled(INCONCLUSIVE, f"not concluded on {exploration.model}")
            found.setdefault(invariant, []).append((badge, _anchor(part)))
    return found


def _properties(obligations: Iterable[Obligation]) -> tuple[ProvedProperty, ...]:
    """The obligations grouped by property, auxiliary ones last."""
    groups: dict[tuple[bool, str, str], list[Obligation]] = {}
    for obligation in obligations:
        key = (obligation.auxiliary, obligation.invariant, obligation.property)
        groups.setdefault(key, []).append(obligation)
    rows = [
        ProvedProperty(auxiliary=auxiliary, invariant=invariant, name=name, obligations=tuple(group))
        for (auxiliary, invariant, name), group in groups.items()
    ]
    return tuple(sorted(rows, key=lambda row: row.auxiliary))


def _changes(before: dict[str, str], after: dict[str, str]) -> tuple[Change, ...]:
    """The variables whose value differs, in the order of the state after."""
    names = dict.fromkeys([*after, *before])
    return tuple(
        Change(name=name, before=before.get(name, "absent"), after=after.get(name, "absent"))
        for name in names
        if before.get(name) != after.get(name)
    )


def _steps(trace: tuple[TraceState, ...]) -> tuple[tuple[TraceState, tuple[Change, ...]], ...]:
    """Each state of a trace with what its action changed; nothing for the first."""
    changes = [_changes(before.state, after.state) for before, after in pairwise(trace)]
    return tuple(zip(trace, [(), *changes], strict=False))


def _coverage_badge(row: InvariantCoverage) -> Badge:
    """Green only where the invariant was checked at least once and never violated."""
    if row.violations:
        return VIOLATED
    return _labelled(HELD, "held") if row.checked else UNEXERCISED


def _fault_badge(fault: FaultOutcome) -> Badge:
    """A fault is caught only if every invariant that it names fired, whatever was recorded."""
    caught = fault.verdict is FaultVerdict.CAUGHT and set(fault.names) <= set(fault.caught_by)
    if fault.reason and not caught:
        return _labelled(INCONCLUSIVE, "lost")
    return _labelled(HELD, "caught") if caught else _labelled(VIOLATED, "missed")


def _obligation_badge(obligation: Obligation) -> Badge:
    match obligation.verdict:
        case ObligationVerdict.PROVED:
            return _labelled(HELD, "proved")
        case ObligationVerdict.REFUTED:
            return _labelled(VIOLATED, "refuted")
        case ObligationVerdict.UNKNOWN:
            return _labelled(INCONCLUSIVE, "unknown")
        case ObligationVerdict.NOT_ATTEMPTED:
            return _labelled(INCONCLUSIVE, "not attempted")


def _contract_badge(outcome: ContractOutcome) -> Badge:
    """Green only where every postcondition was confirmed."""
    return _labelled(BADGE_BY_VERDICT[VERDICT_BY_OUTCOME[outcome]], outcome.replace("-", " "))


def _labelled(badge: Badge, label: str) -> Badge:
    return Badge(badge.kind, badge.icon, label)


def _anchor(part: Part) -> Markup:
    assert re.fullmatch(r"[a-z]+-[0-9]+", part.anchor)
    return Markup(part.anchor)  # noqa: S704 - checked above


def _link(name: str) -> Markup | None:
    """The address of a file beside the page, for a link; None where the name is not a plain relative path."""
    return Markup(name) if is_safe_path(name) else None  # noqa: S704 - checked


def _replay(file: str, engine: str) -> str:
    """The command that runs a counterexample again; it names a `stdio:` engine, which is never run unasked."""
    named = f" --engine {shlex.quote(engine)}" if engine.startswith("stdio:") else ""
    return f"holdfast replay {shlex.quote(file)}{named}"


def _duration(seconds: float | None) -> str:
    """A time as a person says it.

    >>> _duration(0.04), _duration(75.2), _duration(None)
    ('0.04 s', '1 min 15 s', 'not recorded')
    """
    if seconds is None or not math.isfinite(seconds):
        return "not recorded"
    if seconds < 1:
        return f"{seconds:.2f} s"
    if seconds < 60:  # noqa: PLR2004 - seconds in a minute
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes:,} min {rest} s"


def _probability(value: float) -> str:
    """A probability with two digits.

    >>> _probability(1.234e-07), _probability(0.0)
    ('1.2e-07', '0')
    """
    return f"{value:.2g}"


def _change(text: str) -> Markup:
    """A change told as "name: before -> after", its parts marked; any other text as it is."""
    match = _CHANGE.fullmatch(text)
    if match is None:
        return _marked(text)
    return Markup(
        '<span class="name">{}</span> <span class="before">{}</span> → <span class="after">{}</span>'
    ).format(_marked(match["name"]), _marked(match["before"]), _marked(match["after"]))


def _marked(text: str, *, limit: int = SENTENCE_CHARACTERS_MAX) -> Markup:
    """The text for HTML, escaped, with marks around what stands for something unprintable."""
    parts = [
        Markup('<span class="mark">{}</span>').format(run) if is_mark else escape(run)
        for run, is_mark in visible_runs(text, limit=limit)
    ]
    return Markup("").join(parts)


def _shown(value: object) -> Markup:
    """What the template prints for a value: the one way by which anything gets onto the page."""
    match value:
        case Markup():
            return value
        case str():
            return _marked(value)
        case int():
            assert not isinstance(value, bool)
            return Markup(f"{value:,}")  # noqa: S704 - digits
        case _:
            raise AssertionError(f"the template prints a {type(value).__name__}")


def _first(limit: int, items: Iterable[Item]) -> tuple[Item, ...]:
    return tuple(items)[:limit]


def _resource(name: str) -> str:
    return resources.files("holdfast_reports").joinpath("templates", name).read_text(encoding="utf-8")


@cache
def _template() -> "jinja2.Template":
    """The page's template, compiled once."""
    import jinja2  # noqa: PLC0415 - most commands load this module and render nothing

    environment = jinja2.Environment(
        autoescape=True,
        finalize=_shown,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        loader=jinja2.FunctionLoader(_resource),
    )
    functions: dict[str, Callable[..., object]] = {
        "anchor": _anchor,
        "changes": _changes,
        "contract_badge": _contract_badge,
        "counted": counted,
        "coverage_badge": _coverage_badge,
        "duration": _duration,
        "fault_badge": _fault_badge,
        "link": _link,
        "obligation_badge": _obligation_badge,
        "probability": _probability,
        "properties": _properties,
        "replay": _replay,
        "trace_steps": _steps,
        "first_counterexamples": partial(_first, COUNTEREXAMPLES_MAX),
        "first_steps": partial(_first, STEPS_MAX),
        "first_lines": partial(_first, LINES_MAX),
        "first_rows": partial(_first, ROWS_MAX),
        "first_variables": partial(_first, VARIABLES_MAX),
        "labelled": _labelled,
    }
    environment.globals.update(functions)
    environment.globals.update(
        badge_by_verdict=BADGE_BY_VERDICT, HELD=HELD, VIOLATED=VIOLATED, INCONCLUSIVE=INCONCLUSIVE, NEUTRAL=NEUTRAL
    )
    environment.filters["change"] = _change
    return environment.get_template("report.html.j2")
