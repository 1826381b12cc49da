r"""Text from an engine, made safe to show: what cannot be seen is made visible, what is too long is cut, visibly.

Nothing here knows HTML or XML; `visible_runs` says which parts of a text stand for something unprintable, so that a
format can mark them. A mark is the character's escape as Python writes it: a NUL is shown as `\x00`.
"""

import unicodedata
from collections.abc import Iterator
from itertools import groupby
from operator import itemgetter

SENTENCE_CHARACTERS_MAX = 600
COMBINING_MARKS_MAX = 3


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

    Such parts are escapes of unprintable characters and the note that says how much was cut. White space other than
    the plain blank counts as unprintable.
    """
    assert limit > 0
    shown = text[:limit]
    if shown.isascii() and shown.isprintable():
        yield shown, False
    else:
        for is_mark, characters in groupby(_marked(shown), key=itemgetter(1)):
            yield "".join(character for character, _ in characters), is_mark
    if len(text) > limit:
        yield f"… [cut: {len(text):,} characters in all]", True


def storable(text: str) -> str:
    r"""The text as it can be written in UTF-8: a lone surrogate becomes its escape.

    >>> storable("a\ud800")
    'a\\ud800'
    """
    return text.encode("utf-8", "backslashreplace").decode("utf-8")


def _marked(text: str) -> Iterator[tuple[str, bool]]:
    """Each character, or its escape with True: for what cannot be printed, and for marks piled up on one letter."""
    marks = 0
    for character in text:
        marks = marks + 1 if unicodedata.category(character).startswith("M") else 0
        if character.isprintable() and marks <= COMBINING_MARKS_MAX:
            yield character, False
        else:
            yield character.encode("unicode_escape").decode("ascii"), True
