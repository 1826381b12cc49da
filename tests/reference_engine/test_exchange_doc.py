"""The worked examples of docs/exchange.md answer what the page shows, and what is asked first is answered."""

import doctest
import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "exchange.md"
ENGINE = ROOT / "reference_engine"
SECTIONS = re.split(r"^#{2,3} ", PAGE.read_text(), flags=re.MULTILINE)
BLOCK = re.compile(r"^```python\n(>>> .*?)^```$", re.DOTALL | re.MULTILINE)


def examples() -> list[doctest.Example]:
    """All examples of the page, one after the other, as one reader would type them."""
    parser = doctest.DocTestParser()
    found: list[doctest.Example] = []
    text = PAGE.read_text()
    for block in BLOCK.finditer(text):
        before = text.count("\n", 0, block.start(1))
        for example in parser.get_examples(block[1], str(PAGE)):
            example.lineno += before
            found.append(example)
    return found


def failures_of(shown: list[doctest.Example]) -> list[int]:
    """The lines of the page at which the answer is another one than is shown."""
    failed: list[int] = []

    class Runner(doctest.DocTestRunner):
        def report_failure(self, out: object, test: object, example: doctest.Example, got: str) -> None:
            del out, test, got
            failed.append(example.lineno + 1)

    result = Runner(verbose=False).run(doctest.DocTest(shown, {}, PAGE.name, str(PAGE), 0, None))
    assert (result.attempted, result.failed) == (len(shown), len(failed)), "an example raised an exception"
    return failed


def test_every_example_answers_what_the_page_shows() -> None:
    shown = examples()
    assert len(shown) > 70
    assert sum(bool(example.want) for example in shown) > 50
    assert failures_of(shown) == []


def test_an_answer_that_is_changed_on_the_page_is_a_failure_wherever_it_stands() -> None:
    shown = examples()
    answered = [example for example in shown if example.want]
    for example in answered:
        example.want = f"{example.want.rstrip()}0\n"
    assert failures_of(shown) == [example.lineno + 1 for example in answered]


def test_an_answer_that_is_left_out_on_the_page_is_a_failure() -> None:
    shown = examples()
    silenced = next(example for example in shown if example.want)
    silenced.want = ""
    assert failures_of(shown) == [silenced.lineno + 1]


def test_the_examples_stand_in_the_order_in_which_the_rules_are_applied() -> None:
    with_examples = [section.splitlines()[0] for section in SECTIONS if BLOCK.search(section)]
    assert with_examples == [
        "How to read the examples",
        "Placing an order",
        "Stop orders, and one-cancels-other",
        "The call auction",
        "Fees",
        "Marks",
        "Transfers",
        "Positions",
        "Funding",
        "Loans",
        "Liquidation",
        "Maintenance by procedure",
    ]


def anchors(text: str) -> set[str]:
    """The anchors of a page's headings, as Markdown makes them."""
    headings = re.findall(r"^#{2,3} (.*)$", text, re.MULTILINE)
    return {re.sub(r"[^a-z0-9 -]", "", heading.lower()).replace(" ", "-") for heading in headings}


def test_what_is_asked_first_is_answered_where_the_page_says_it_is() -> None:
    text = PAGE.read_text()
    questions = re.findall(r"^- \*\*(.*\?)\*\*", text, re.MULTILINE)
    assert len(questions) == 7
    links = re.findall(r"\]\(#([a-z-]+)\)", text)
    assert len(links) >= 3
    assert set(links) <= anchors(text)
    readme = (ENGINE / "README.md").read_text()
    for question in questions:
        assert question in " ".join(readme.split())
    for link in re.findall(r"\(\.\./docs/exchange\.md#([a-z-]+)\)", readme):
        assert link in anchors(text)


def test_the_engines_readme_names_every_module_once_in_the_order_of_reading() -> None:
    readme = (ENGINE / "README.md").read_text()
    named = re.findall(r"^\| `(\w+)` \|", readme, re.MULTILINE)
    modules = {path.stem for path in (ENGINE / "holdfast_engine").glob("*.py") if not path.stem.startswith("_")}
    assert len(named) == len(set(named))
    assert set(named) == modules | {"faults"}
