r"""Text from an engine, made safe to show: what cannot be seen is made visible, what is too long is cut, visibly.

Nothing here knows HTML or XML; `visible_runs` says which parts of a text stand for something unprintable, so that a
format can mark them. A mark is the character's escape as Python writes it: a NUL is shown as `\x00`.
"""

import unicodedata
from collections.abc import Iterator

SENTENCE_CHARACTERS_MAX = 600
COMBINING_MARKS_MAX = 3

_UNPRINTABLE = frozenset({"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"})


def visible(text: str, *, limit: int = SENTENCE_CHARACTERS_MAX) -> str:
    r"""The text on one line, with every unprintable character as its escape, cut at `limit` characters.

    >>> visible("total\x00 \u202e001")
    'total\\x00 \\u202e001'
    >>> visible("x" * 1000, limit=4)
    'xxxx… [cut: 1,000 characters in all]'
    """
    return "".join(run for run, _ in visible_runs(text, limit=limit))


def visible_runs(text: str, *, limit: int = SENTENCE_CHARACTERS_MAX) -> Iterator[tuple[str, bool]]:
    """The parts of the text in order, each with whether it stands in for something that the text itself lacks.

    Such parts are escapes of unprintable characters and the note that says how much was cut.
    """
    assert limit > 0
    plain: list[str] = []
    marks = 0
    for character in text[:limit]:
        marks = marks + 1 if unicodedata.category(character).startswith("M") else 0
        if _is_printable(character) and marks <= COMBINING_MARKS_MAX:
            plain.append(character)
            continue
        if plain:
            yield "".join(plain), False
            plain = []
        yield _escape(character), True
    if plain:
        yield "".join(plain), False
    if len(text) > limit:
        yield f"… [cut: {len(text):,} characters in all]", True


def storable(text: str) -> str:
    r"""The text as it can be written in UTF-8: a lone surrogate becomes its escape.

    >>> storable("a\ud800")
    'a\\ud800'
    """
    return text.encode("utf-8", "backslashreplace").decode("utf-8")


def _is_printable(character: str) -> bool:
    if character == " ":
        return True
    category = unicodedata.category(character)
    return category not in _UNPRINTABLE and category != "Zs"


def _escape(character: str) -> str:
    return character.encode("unicode_escape").decode("ascii") if not character.isascii() else _escape_ascii(character)


def _escape_ascii(character: str) -> str:
    return {"\n": "\\n", "\r": "\\r", "\t": "\\t"}.get(character, f"\\x{ord(character):02x}")
