"""Checks every function of a module against the PEP 316 contract in its docstring, with CrossHair.

    python tests/crosshair/check_contracts.py [MODULE | FILE.py] [--seconds 90] [--jobs 2] [--out FOLDER]

The functions are found by inspection, so that one without a contract fails by its name. Each is checked in a process
of its own, so that no outcome depends on the order or on what else is there.

CrossHair's own exit status is 0 also where it could not confirm a postcondition and where no input satisfies the
preconditions. Here the status is 1 when a contract is refuted, unreachable or missing. A contract that was not
confirmed is listed with the reason and makes the verdict inconclusive, which is never green, and the status stays 0:
a solver's limit is nothing that the author of a change could mend.
"""

import argparse
import importlib
import importlib.util
import os
import re
import subprocess
import sys
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from importlib.metadata import version
from pathlib import Path
from time import monotonic, process_time
from types import FunctionType, ModuleType
from typing import TYPE_CHECKING

import msgspec
from rich.markup import escape

from holdfast.console import out as console
from holdfast.console import verdict_line
from holdfast.reporting import Folder, Session
from holdfast_model.errors import HoldfastError
from holdfast_model.evidence import Bound, ExitStatus, Verdict
from holdfast_model.findings import (
    ConditionCheck,
    ContractCheck,
    ContractOutcome,
    ContractsResult,
    NotChecked,
    worst_outcome,
)
from holdfast_reports.dossier import VERDICT_BY_OUTCOME, counted, derived_verdict

if TYPE_CHECKING:
    from crosshair.condition_parser import Conditions
    from crosshair.statespace import AnalysisMessage

ARITHMETIC = "holdfast_engine.arithmetic"
SECONDS = 90.0
JOBS = 2
POSTCONDITIONS_MAX = 20
START_SECONDS = 60
"""What a process may take beside the checking itself, on a busy machine."""

_LAST = (ContractOutcome.REFUTED, ContractOutcome.UNREACHABLE)
"""Once a function has failed in this way, its other postconditions are left alone."""

_RETURNED = re.compile(r"\b(__return__|_)\b")
_STYLES = {Verdict.HELD: "green", Verdict.INCONCLUSIVE: "yellow", Verdict.VIOLATED: "bold red"}


def main(arguments: list[str]) -> int:
    """Check a module and report it; the exit status."""
    options = _options(arguments)
    if options.worker:
        sys.stdout.buffer.write(msgspec.json.encode(check(load(options.module), options.worker, options.seconds)))
        return 0
    session = Session("crosshair")
    timing: dict[str, float] = {}
    try:
        folder = Folder(options.out)
        names = list(function_names(load(options.module)))
        chosen = _chosen(names, options)
        with ThreadPoolExecutor(options.jobs) as pool:
            checks = tuple(pool.map(lambda name: _in_a_process(options, name, timing), chosen))
    except HoldfastError as error:
        sys.stderr.write(f"{error}\n")
        return ExitStatus.BAD_INPUT
    result = ContractsResult(
        module=Path(options.module).stem if options.module.endswith(".py") else options.module,
        solver=f"CrossHair {version('crosshair-tool')} on z3 {version('z3-solver')}",
        bounds=(
            Bound(name="seconds of processor time for each postcondition", value=f"{options.seconds:g}"),
            Bound(name="integers", value="unbounded, where no precondition bounds them"),
            Bound(name="lists", value="as long as the preconditions say"),
        ),
        functions=checks,
        not_checked=tuple(
            NotChecked(subject=name, reason="only some functions were asked for")
            for name in names
            if name not in chosen
        ),
    )
    verdict = derived_verdict(result)
    status = ExitStatus.VIOLATED if verdict is Verdict.VIOLATED else ExitStatus.HELD
    report = session.report(
        verdict, result, timing={f"function:{name}": timing[name] for name in chosen}, exit_status=status
    )
    environment = report.environment | {
        "command_line": " ".join(["python", Path(__file__).name, *arguments]),
        "crosshair-tool": version("crosshair-tool"),
    }
    _say(result, verdict, report.timing)
    page = folder.finish(msgspec.structs.replace(report, environment=environment))
    console.print(f"Written: {escape(', '.join(str(path) for path in page))}")
    return status


def function_names(module: ModuleType) -> Iterator[str]:
    """The names of all functions that a module defines, private ones too, in the order of the source.

    Raises `HoldfastError` on anything else that can be called and is defined there, because it would go unchecked.
    """
    for name, value in vars(module).items():
        if callable(value) and getattr(value, "__module__", None) == module.__name__:
            if not isinstance(value, FunctionType) or value.__name__ != name:
                raise HoldfastError(
                    f"{module.__name__}.{name}: found a {type(value).__name__}, expected a plain function"
                )
            yield name


def check(module: ModuleType, name: str, seconds: float) -> ContractCheck:
    """What CrossHair finds out about one function of the module, in this process."""
    from crosshair.core_and_libs import analyze_function  # noqa: PLC0415 - it patches the interpreter's builtins
    from crosshair.options import AnalysisKind, AnalysisOptionSet  # noqa: PLC0415 - as above

    function = getattr(module, name)
    conditions = _contract(function)
    missing = without_contract(function)
    if missing:
        return ContractCheck(function=name, outcome=ContractOutcome.NO_CONTRACT, reason=missing)
    posts = [condition.expr_source for condition in conditions.post]
    options = AnalysisOptionSet(
        analysis_kind=[AnalysisKind.PEP316], per_condition_timeout=seconds, report_all=True, enabled=True
    )
    checked: list[ConditionCheck] = []
    for post, checkable in zip(posts, analyze_function(function, options), strict=True):
        if checked and checked[-1].outcome in _LAST:
            reason = "not attempted, because another postcondition of this function had failed"
            checked += [
                ConditionCheck(condition=other, outcome=ContractOutcome.NOT_CONFIRMED, reason=reason)
                for other in posts[len(checked) :]
            ]
            break
        start = process_time()
        messages = list(checkable.analyze())
        checked.append(_condition(post, messages, seconds=seconds, spent=process_time() - start))
    return ContractCheck(
        function=name,
        outcome=worst_outcome(condition.outcome for condition in checked),
        preconditions=tuple(condition.expr_source for condition in conditions.pre),
        conditions=tuple(checked),
    )


def without_contract(function: FunctionType) -> str:
    """Why a function promises nothing that can be checked, or "" where it does."""
    conditions = _contract(function)
    unreadable = "; ".join(message.message for message in conditions.syntax_messages())
    if unreadable:
        return f"the contract cannot be read: {unreadable}"
    if not conditions.post:
        return "there is no postcondition"
    if not any(_RETURNED.search(condition.expr_source) for condition in conditions.post):
        return "no postcondition speaks about what is returned"
    return f"exceptions are allowed: {conditions.raises}" if conditions.raises else ""


def _contract(function: FunctionType) -> "Conditions":
    """The PEP 316 contract in the docstring, as CrossHair reads it."""
    from crosshair.condition_parser import Pep316Parser  # noqa: PLC0415 - it patches the interpreter's builtins
    from crosshair.fnutil import FunctionInfo  # noqa: PLC0415 - as above

    conditions = Pep316Parser().get_fn_conditions(FunctionInfo.from_fn(function))
    assert conditions is not None
    return conditions


def _chosen(names: list[str], options: argparse.Namespace) -> list[str]:
    """The functions to check: all, or those asked for by name."""
    unknown = sorted(set(options.function) - set(names))
    if unknown:
        raise HoldfastError(f"{options.module} has no function {', '.join(unknown)}; it has {', '.join(names)}")
    return [name for name in names if not options.function or name in options.function]


def _condition(post: str, messages: "Sequence[AnalysisMessage]", *, seconds: float, spent: float) -> ConditionCheck:
    """The worst of what CrossHair said about one postcondition; `spent` is the processor time in seconds."""
    message = max(messages, key=lambda message: message.state)
    match message.state.name:
        case "CONFIRMED":
            return ConditionCheck(condition=post, outcome=ContractOutcome.CONFIRMED)
        case "CANNOT_CONFIRM" if spent >= seconds:
            reason = f"timed out after {seconds:g} s of processor time, without a counterexample"
            return ConditionCheck(condition=post, outcome=ContractOutcome.NOT_CONFIRMED, reason=reason)
        case "CANNOT_CONFIRM":
            reason = "the solver could not decide every path, and found no counterexample on the others"
            return ConditionCheck(condition=post, outcome=ContractOutcome.NOT_CONFIRMED, reason=reason)
        case "PRE_UNSAT":
            return ConditionCheck(condition=post, outcome=ContractOutcome.UNREACHABLE, reason=message.message)
        case _:
            return ConditionCheck(condition=post, outcome=ContractOutcome.REFUTED, counterexample=message.message)


def load(target: str) -> ModuleType:
    """The module of that name or, for a path that ends in `.py`, in that file."""
    try:
        if not target.endswith(".py"):
            return importlib.import_module(target)
        spec = importlib.util.spec_from_file_location(Path(target).stem, target)
        assert spec is not None
        assert spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        sys.modules[module.__name__] = module
        spec.loader.exec_module(module)
    except (ImportError, OSError, SyntaxError) as error:
        raise HoldfastError(f"{target}: cannot be imported: {error}") from error
    return module


def _in_a_process(options: argparse.Namespace, name: str, timing: dict[str, float]) -> ContractCheck:
    """`check` in a process of its own, which is ended where the solver ignores its limits."""
    start = monotonic()
    limit = START_SECONDS + POSTCONDITIONS_MAX * options.seconds
    try:
        done = subprocess.run(
            [sys.executable, __file__, options.module, "--seconds", str(options.seconds), "--worker", name],
            capture_output=True,
            check=False,
            timeout=limit,
            env=os.environ | {"PYTHONHASHSEED": "0"},
        )
    except subprocess.TimeoutExpired:
        reason = f"ended from outside after {limit:g} s, because the solver did not keep to its limit"
        unfinished = ConditionCheck(condition="all", outcome=ContractOutcome.NOT_CONFIRMED, reason=reason)
        return ContractCheck(function=name, outcome=ContractOutcome.NOT_CONFIRMED, conditions=(unfinished,))
    finally:
        timing[name] = round(monotonic() - start, 3)
    if done.returncode:
        raise HoldfastError(f"{options.module}.{name}: the check failed:\n{done.stderr.decode('utf-8', 'replace')}")
    return msgspec.json.decode(done.stdout, type=ContractCheck)


def _say(result: ContractsResult, verdict: Verdict, timing: dict[str, float]) -> None:
    """Print every function by its name, what is wrong with it, and the sums."""
    console.print(f"{escape(result.module)}, with {escape(result.solver)}")
    for bound in result.bounds:
        console.print(f"  {escape(bound.name)}: {escape(bound.value)}")
    for item in result.functions:
        style = _STYLES[VERDICT_BY_OUTCOME[item.outcome]]
        outcome = f"[{style}]{item.outcome.replace('-', ' '):<13}[/]"
        work = f"{counted(len(item.conditions), 'postcondition')}, {timing[f'function:{item.function}']:.1f} s"
        console.print(f"{outcome}  {escape(item.function)} ({work})")
        if item.reason:
            console.print(f"{'':<15}{escape(item.reason)}")
        for condition in item.conditions:
            if condition.outcome is not ContractOutcome.CONFIRMED:
                console.print(f"{'':<15}{escape(condition.condition)}")
                console.print(f"{'':<17}{escape(condition.counterexample or condition.reason)}")
    sums = [
        f"{number} {outcome.replace('-', ' ')}"
        for outcome in ContractOutcome
        if (number := sum(item.outcome is outcome for item in result.functions))
    ]
    verdict_line(verdict, f"{counted(len(result.functions), 'function')}: {', '.join(sums) or 'none'}")


def _options(arguments: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("module", nargs="?", default=ARITHMETIC, help="a module's name, or a file that ends in .py")
    parser.add_argument("--function", action="append", default=[], help="only this function; may be repeated")
    parser.add_argument("--seconds", type=float, default=SECONDS, help="processor time for each postcondition")
    parser.add_argument("--jobs", type=int, default=JOBS, help="functions at a time")
    parser.add_argument("--out", type=Path, default=Path("holdfast-report/crosshair"), help="the report's folder")
    parser.add_argument("--worker", help=argparse.SUPPRESS)
    return parser.parse_args(arguments)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
