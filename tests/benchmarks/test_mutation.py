"""`make mutation`: a planted module whose one mutant is killed and whose other survives; and nothing stale passes."""

import ast
import json
from _thread import interrupt_main
from importlib.util import find_spec
from pathlib import Path

import pytest
from benchmarks.judging import Answer, Job
from benchmarks.mutants import Mutant, Sample, function_at, read_plan, sample_of, spans_left_out
from benchmarks.mutation import HERE, ROOT, Judge, main, read_reasons
from msgspec.structs import replace

from holdfast_model.errors import HoldfastError

pytestmark = pytest.mark.slow

TINY = '''\
"""A module."""


def larger(one: int, other: int) -> int:
    """The larger of two: neither of two equal ones is."""
    if one > other:
        return one
    return other
'''

TEST = """\
from tiny import larger


def test_the_larger_is_found() -> None:
    assert (larger(1, 2), larger(2, 1)) == (2, 2)
"""

PLAN = """\
copied = ["package", "tests"]
source_roots = ["package"]
package = "package"
preloaded = ["pytest", "hypothesis"]
generators = "noticing:run"
deselected = ["nothing"]
traced_seconds = 20
tests_seconds = 20
generators_seconds = 2

[excluded]

[groups.all]
modules = ["tiny"]
tests = ["tests/test_tiny.py"]
"""

STRICTER = """

def test_of_two_equal_ones_the_other_is_taken() -> None:
    assert larger(1, True) is True
"""

NOTICING = """\
import tiny


def run(first):
    while tiny.larger(1, 1) != 1:
        pass
    assert tiny.larger(5, 3) == 5, "noticed"
"""


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """A tree with the module, its test, and a generator, which is a file of the package."""
    (tmp_path / "package").mkdir()
    (tmp_path / "tests").mkdir()
    (tmp_path / "package" / "tiny.py").write_text(TINY)
    (tmp_path / "package" / "noticing.py").write_text(NOTICING)
    (tmp_path / "tests" / "test_tiny.py").write_text(TEST)
    (tmp_path / "plan.toml").write_text(PLAN)
    (tmp_path / "equivalent.toml").write_text("")
    return tmp_path


def mutant(before: str, after: str, *, line: int = 6) -> Mutant:
    """The module with one line changed."""
    return Mutant(
        group="all",
        module="tiny",
        function="larger",
        operator="ByHand",
        before=before,
        after=after,
        number=0,
        line=line,
        source=TINY.replace(before, after),
    )


KILLED = mutant("if one > other:", "if one < other:")
SAME = mutant("if one > other:", "if one >= other:")
NOTICED = mutant("if one > other:", "if one == 2:")
ENDLESS = mutant("return other", "return other + (one == other)", line=8)


def reason(of: Mutant, text: str = "Of two equal ones it does not matter which.") -> str:
    """An entry in the file of reasons."""
    return f"""\
[[equivalent]]
module = "tiny"
function = "larger"
operator = "ByHand"
before = "{of.before}"
after = "{of.after}"
reason = "{text}"
"""


class Run:
    """Runs the program on the tree with mutants made by hand, so that it needs no tool."""

    def __init__(self, tree: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.tree = tree
        self.mutants: list[Mutant] = [KILLED, SAME]
        monkeypatch.setattr("benchmarks.mutation.sample_of", self._sample)
        monkeypatch.setattr("benchmarks.mutation.tool", lambda: "by hand")

    def _sample(self, *_: object, **__: object) -> Sample:
        return Sample(drawn_from="", mutants=tuple(self.mutants), places={}, possible={}, left_out={})

    def __call__(self, *more: str) -> int:
        paths = {"root": ".", "plan": "plan.toml", "reasons": "equivalent.toml", "out": "out", "page": "page.md"}
        options = [part for name, path in paths.items() for part in (f"--{name}", str(self.tree / path))]
        return main([*options, "--workers", "1", *more])

    @property
    def verdicts(self) -> dict[str, tuple[str, str]]:
        found = json.loads((self.tree / "out" / "mutation.json").read_bytes())
        return {item["after"]: (item["verdict"], item["by"]) for item in found["mutants"]}


@pytest.fixture
def run(tree: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    """What runs the program on the tree."""
    return Run(tree, monkeypatch)


def test_the_first_failure_is_the_verdict_and_the_checkout_stays_as_it_was(run: Run) -> None:
    run.mutants += [NOTICED, ENDLESS]
    assert run() == 1
    assert run.verdicts == {
        KILLED.after: ("tests", "tests/test_tiny.py::test_the_larger_is_found"),
        NOTICED.after: ("generators", "AssertionError: noticed"),
        ENDLESS.after: ("time-out", "generators: 2 s of processor time"),
        SAME.after: ("survived", ""),
    }
    assert (run.tree / "package" / "tiny.py").read_text() == TINY
    assert "**No reason and no test.**" in (run.tree / "page.md").read_text()


def test_a_survivor_with_a_reason_is_no_gap_but_counts_as_not_killed(
    run: Run, capsys: pytest.CaptureFixture[str]
) -> None:
    (run.tree / "equivalent.toml").write_text(reason(SAME))
    assert run() == 1, "one of two was killed, and that is too little"
    assert "50 % killed" in capsys.readouterr().out
    run.mutants += [replace(KILLED, operator=f"Again{number}") for number in range(5)]
    assert run() == 0
    assert "Of two equal ones it does not matter which." in (run.tree / "page.md").read_text()


def test_a_reason_for_what_was_killed_is_refused(run: Run, capsys: pytest.CaptureFixture[str]) -> None:
    (run.tree / "equivalent.toml").write_text(reason(KILLED))
    assert run() == 2
    assert "it is not equivalent, tests (tests/test_tiny.py::test_the_larger_is_found) killed it" in (
        capsys.readouterr().err
    )


def test_a_reason_for_a_line_that_has_changed_is_refused_before_anything_is_run(
    run: Run, capsys: pytest.CaptureFixture[str]
) -> None:
    (run.tree / "equivalent.toml").write_text(reason(replace(SAME, before="if one > other + 0:")))
    assert run() == 2
    assert "there is no such mutant in the sample: tiny: larger: ByHand: 'if one > other + 0:'" in (
        capsys.readouterr().err
    )
    assert not (run.tree / "out" / "verdicts.jsonl").exists()


def test_a_reason_that_says_nothing_or_is_misspelt_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "equivalent.toml"
    file.write_text(reason(SAME, " "))
    with pytest.raises(HoldfastError, match="is empty"):
        read_reasons(file)
    file.write_text(reason(SAME).replace("reason =", "raison ="))
    with pytest.raises(HoldfastError, match=r"equivalent\.toml: .*raison"):
        read_reasons(file)


def jobs_of(monkeypatch: pytest.MonkeyPatch, *, interrupt_after: int = 1_000) -> list[Job]:
    """Collects what is asked of the judges, and interrupts the program after so many answers."""
    ask = Judge.ask
    asked: list[Job] = []

    def collecting(self: Judge, job: Job) -> Answer | None:
        asked.append(job)
        answer = ask(self, job)
        if len(asked) == interrupt_after:
            interrupt_main()
        return answer

    monkeypatch.setattr(Judge, "ask", collecting)
    return asked


def test_an_interrupted_run_goes_on_where_it_was(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    jobs_of(monkeypatch, interrupt_after=3)  # two to trace the tests, then the first mutant
    assert run() == 130
    assert not (run.tree / "page.md").exists()
    monkeypatch.undo()
    run = Run(run.tree, monkeypatch)
    asked = jobs_of(monkeypatch)
    assert run() == 1
    assert KILLED.source not in [job.source for job in asked]
    assert [verdict for verdict, _ in run.verdicts.values()] == ["tests", "survived"]


def test_without_the_generators_a_survivor_has_no_verdict_and_nothing_is_green(run: Run) -> None:
    run.mutants = [replace(KILLED, operator=f"Again{number}") for number in range(9)] + [SAME]
    assert run("--tests-only") == 3
    assert run.verdicts[SAME.after] == ("", "")
    assert "counted as not killed: 1 of them.** In `tiny:larger`." in (run.tree / "page.md").read_text()


def test_a_changed_tree_is_judged_again_and_first_by_what_killed_the_mutant(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert run() == 1
    (run.tree / "tests" / "test_tiny.py").write_text(TEST + STRICTER)
    asked = jobs_of(monkeypatch)
    assert run() == 0
    assert [job.first for job in asked if job.source == KILLED.source] == [
        "tests/test_tiny.py::test_the_larger_is_found"
    ]
    assert run.verdicts[SAME.after] == ("tests", "tests/test_tiny.py::test_of_two_equal_ones_the_other_is_taken")


def test_what_is_not_mutated_must_be_green(run: Run, capsys: pytest.CaptureFixture[str]) -> None:
    (run.tree / "tests" / "test_tiny.py").write_text(TEST.replace("(2, 2)", "(2, 1)"))
    assert run() == 3
    assert "without a mutation these are not green:\ntests/test_tiny.py: tests/test_tiny.py::test_the_larger" in (
        capsys.readouterr().err
    )


def test_tests_that_are_all_left_out_judge_nothing(run: Run, capsys: pytest.CaptureFixture[str]) -> None:
    (run.tree / "plan.toml").write_text(PLAN.replace('"nothing"', '"larger"'))
    assert run() == 3
    assert "there is no test in package/tiny.py, tests/test_tiny.py" in capsys.readouterr().err


LEFT_OUT = '''\
"""A + B."""

import a

Either = int | str


class Thing:
    """C."""

    size: int | None = 1

    def grow(self, by: int | str = 2 + 3, *, most: int | None = None) -> int | str:
        """Larger."""
        assert self.size + 1
        match by:
            case int() | float():
                return by + 4
        return most if isinstance(by, int | str) else -5
'''


def test_only_what_runs_and_decides_is_mutated() -> None:
    tree = ast.parse(LEFT_OUT)
    spans = list(spans_left_out(tree))
    left = [
        ast.unparse(node)
        for node in ast.walk(tree)
        if isinstance(node, ast.BinOp | ast.UnaryOp)
        and not any(span.start <= (node.lineno, node.col_offset) < span.end for span in spans)
    ]
    assert sorted(left) == ["-5", "2 + 3", "by + 4"]
    assert [function_at(tree, line) for line in (5, 11, 18)] == ["", "Thing", "Thing.grow"]


def test_every_module_of_the_plan_is_there_and_has_tests() -> None:
    plan = read_plan(HERE / "plan.toml")
    engine = {path.stem for path in (ROOT / plan.package).glob("*.py")}
    mutated = [module for group in plan.groups.values() for module in group.modules]
    assert len(mutated) == len(set(mutated))
    assert engine - set(mutated) == NOT_MUTATED
    assert all((ROOT / test).is_file() for group in plan.groups.values() for test in group.tests)


NOT_MUTATED = {"__init__", "__main__", "conventions", "misbehaving_signers", "server"}
"""The wire, what is declared of other exchanges, and signers that are meant to misbehave."""


@pytest.mark.skipif(not find_spec("cosmic_ray"), reason="Cosmic Ray is not installed; make mutation installs it")
def test_the_tool_s_mutants_are_drawn_by_the_seed_and_named_without_line_numbers(tree: Path) -> None:
    plan = read_plan(tree / "plan.toml")
    first = sample_of(tree, plan, seed=1, size=9, kept=tree / "sample.json")
    assert {item.before for item in first.mutants} == {"if one > other:"}
    assert len({item.after for item in first.mutants}) == len(first.mutants) == 2, "one for each place"
    assert all(item.source != TINY and ast.parse(item.source) for item in first.mutants)
    assert sample_of(tree, plan, seed=1, size=9, kept=tree / "sample.json") == first
    (tree / "package" / "tiny.py").write_text(TINY.replace("def larger", "SIZE = 3\n\n\ndef larger"))
    later = sample_of(tree, plan, seed=1, size=9, kept=tree / "sample.json")
    assert {item.id for item in first.mutants} < {item.id for item in later.mutants}
    others = {sample_of(tree, plan, seed=seed, size=1, kept=tree / "sample.json").mutants for seed in range(9)}
    assert len(others) > 1
