"""The link as tables, for docs/linking.md: what is read of each variable, and what carries out each action."""

from collections.abc import Iterable

from holdfast.linking.rules import Reading, Subject
from holdfast.linking.subjects import SUBJECTS

READ = {
    Reading.SHOWN: "shown",
    Reading.OUTSIDE: "outside",
    Reading.TOGETHER: "together",
    Reading.NOT_COMPARED: "**not compared**",
}


def title_of(subject: Subject) -> str:
    """The heading of a part: its name in the spec, and its sentence."""
    sentence = (type(subject).__doc__ or "").strip().splitlines()[0]
    return f"### `{subject.part.__name__}`: {sentence[0].lower()}{sentence[1:]}"


def tables_of(subject: Subject) -> str:
    """Both tables of a part, in Markdown."""
    variables = [(f"`{rule.name}`", READ[rule.reading], rule.how) for rule in subject.variables]
    actions = [(f"`{rule.action}`", rule.how) for rule in subject.actions]
    parts = [
        _table(("variable", "read", "how"), variables),
        _table(("action", "carried out by"), actions),
    ]
    return "\n\n".join([title_of(subject), *(part for part in parts if part)])


def _table(head: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> str:
    lines = [_row(row) for row in rows]
    return "\n".join([_row(head), _row(("---",) * len(head)), *lines]) if lines else ""


def _row(cells: Iterable[str]) -> str:
    return f"| {' | '.join(cells)} |"


def tables() -> str:
    """The tables of all parts, in their order."""
    return "\n\n".join(tables_of(subject) for subject in SUBJECTS)
