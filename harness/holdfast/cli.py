"""The `holdfast` command line. What a command needs is imported when it runs, so that help is quick."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from collections.abc import Iterable

    from holdfast.reporting import Session
    from holdfast_model.evidence import Obligation, Proof
    from holdfast_model.findings import AnyReport, StepNarrative

DEFAULT_SEED = 1
DEFAULT_OUT = Path("holdfast-report")

app = typer.Typer(
    name="holdfast",
    help=(
        "Does an exchange keep every client's money and every order's outcome through maintenance, failover and "
        "surge? Exit status: 0 all held, 1 a violation or difference, 2 wrong input, 3 not concluded, 4 a bug of "
        "Holdfast, 130 interrupted."
    ),
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)

Engine = Annotated[
    str,
    typer.Option("--engine", metavar="ENGINE", help="reference, fault:NAME, an adapter, or stdio:COMMAND."),
]
Seed = Annotated[int, typer.Option("--seed", help="One seed gives the same sequences and verdicts on any machine.")]
Json = Annotated[
    str | None,
    typer.Option("--json", metavar="FILE", help="Write the result as JSON to FILE (- is standard output)."),
]
Out = Annotated[Path, typer.Option("--out", metavar="DIR", help="The folder for the report.")]
Model = Annotated[
    str,
    typer.Option("--model", metavar="MODEL", help="A model, such as spot, yardstick:log=2 or spot:bug=restore."),
]
Commands = Annotated[int | None, typer.Option("--commands", min=1, help="How many commands to run.")]
Seconds = Annotated[
    float | None, typer.Option("--seconds", min=0.1, help="How long to run instead; the same sequence, cut off.")
]


def _version(value: bool) -> None:  # noqa: FBT001 - the form of a Typer callback
    if value:
        from holdfast.version import __version__

        typer.echo(f"holdfast {__version__}")
        raise typer.Exit


@app.callback()
def _main(
    *,
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version and exit.")
    ] = False,
) -> None:
    del version


def _session(command: str, json: str | None) -> "Session":
    """A call of a command; where the JSON goes to standard output, all else goes to standard error."""
    from holdfast.console import clear_standard_output
    from holdfast.reporting import Session

    if json == "-":
        clear_standard_output()
    return Session(command)


def _finish(report: "AnyReport", json: str | None) -> None:
    """Write what `--json` asks for and end with the report's exit status."""
    from holdfast.reporting import write_json

    if json is not None:
        write_json(report, json)
    raise typer.Exit(report.exit_status)


def _tell(narrative: "Iterable[StepNarrative]") -> None:
    """Print a sequence step by step."""
    from holdfast.console import say

    for number, step in enumerate(narrative, start=1):
        say(f"{number:3}. {step.step}")
        for answer in step.answers:
            say(f"       {answer}")
        for change in step.changes:
            say(f"     ~ {change}")
        for violation in step.violations:
            say(f"     ! {violation}")


@app.command()
def gate(
    profile: Annotated[
        str, typer.Option("--profile", metavar="PROFILE", help="smoke, ci or nightly: a fixed amount of work.")
    ] = "smoke",
    engine: Engine = "reference",
    seed: Seed = DEFAULT_SEED,
    out: Out = DEFAULT_OUT,
    json: Json = None,
) -> None:
    """The main job: proofs, exploration, machine, volume, scenarios and faults, and a report of them."""
    from holdfast.console import say, telling, verdict_line
    from holdfast.engines import EngineSource
    from holdfast.gating import Gate, profile_by_name
    from holdfast.reporting import Folder
    from holdfast_model.evidence import ExitStatus

    session = _session("gate", json)
    chosen = profile_by_name(profile)
    with EngineSource(engine) as source:
        folder = Folder(out)
        files: dict[int, str] = {}
        with telling() as progress:
            work = Gate(
                source,
                chosen,
                seed=seed,
                progress=progress,
                found=lambda number, name, found: files.setdefault(number, folder.add(name, found)),
            )
            interrupted = False
            try:
                work.run()
            except KeyboardInterrupt:
                interrupted = True
        verdict = work.verdict()
        report = session.report(
            verdict,
            work.result(files),
            timing=work.timing,
            exit_status=ExitStatus.INTERRUPTED if interrupted else None,
        )
    folder.finish(report)
    result = report.result
    say(f"holdfast gate: profile {profile}, engine {engine}, seed {seed}")
    for proof in result.proofs:
        proved = sum(item.verdict == "proved" for item in proof.obligations)
        verdict_line(proof.verdict, f"proof of {proof.model}: {proved} of {len(proof.obligations)} obligations")
    for exploration in result.explorations:
        verdict_line(
            exploration.verdict,
            f"exploration of {exploration.model}: {exploration.distinct:,} states, depth {exploration.depth}",
        )
    for run in result.runs:
        verdict_line(run.verdict, f"{run.kind} {run.name}: {run.commands:,} commands in {run.sequences:,} sequences")
    if result.faults is not None:
        from holdfast.faulting import verdict_of

        caught = sum(item.verdict == "caught" for item in result.faults.faults)
        verdict_line(verdict_of(result.faults), f"planted bugs: {caught} of {len(result.faults.faults)} caught")
    for found in result.counterexamples:
        say(f"  {found.invariant}: {found.commands} commands: {found.found}; see {out / found.file}")
    for item in result.not_checked:
        say(f"  not checked: {item.subject}: {item.reason}")
    if interrupted:
        say("interrupted: the report holds what is known so far")
    verdict_line(verdict, f"in {report.timing['total']:.0f} s; the report is {out / 'report.html'}")
    _finish(report, json)


@app.command()
def prove(
    invariants: Annotated[
        list[str] | None, typer.Argument(metavar="[INVARIANT]...", help="Ids; all of the model's without any.")
    ] = None,
    model: Annotated[
        str | None,
        typer.Option(
            "--model",
            metavar="MODEL",
            help="A model, such as spot or spot:bug=restore; without one, slices of the exchange with all formulas.",
        ),
    ] = None,
    accounts: Annotated[
        str | None,
        typer.Option(
            "--accounts",
            metavar="N|any",
            help="How many accounts; `any` proves it for every number of them, with totals as sums over a table.",
        ),
    ] = None,
    orders: Annotated[int | None, typer.Option("--orders", min=1, help="How many orders.")] = None,
    *,
    second_opinion: Annotated[
        bool,
        typer.Option(
            "--second-opinion",
            help="Ask cvc5 the same questions (the extra `second-opinion`); a contradiction is a bug, status 4.",
        ),
    ] = False,
    export: Annotated[
        Path | None,
        typer.Option(
            "--export",
            metavar="DIR",
            help="Write every question that decided something as SMT-LIB 2, with a manifest of the obligations.",
        ),
    ] = None,
    suggest: Annotated[
        bool,
        typer.Option(
            "--suggest",
            help="For what is not proved though a search at the model's own sizes finds nothing: ask Spacer for an "
            "auxiliary invariant. A suggestion, not a proof; it changes neither the verdict nor the JSON.",
        ),
    ] = False,
    json: Json = None,
) -> None:
    """Prove by induction, for amounts without bound, that each action keeps each invariant.

    Exit status 0: every obligation, those of the auxiliary invariants included, is proved. 1: one is refuted; the
    action, the state before and what the step changes are printed. 3: something is unknown or was not attempted.
    """
    from holdfast.console import say, telling, verdict_line
    from holdfast_invariants.catalogue import invariant_by_id
    from holdfast_model.checkers.formulas import prove_formulas
    from holdfast_model.checkers.prove import prove as run
    from holdfast_model.specs import load_model

    session = _session("prove", json)
    wanted = tuple(invariant_by_id(identifier).id for identifier in invariants or ())
    any_number_of = "accounts" if accounts == "any" else ""
    sizes = {"accounts": _accounts(accounts), "orders": orders}
    with telling() as progress:
        if model is None:
            progress("proving the formulas of the exchange, slice by slice")
            proof = prove_formulas(
                wanted,
                sizes={name: value for name, value in sizes.items() if value is not None},
                any_number_of=any_number_of,
                second_opinion=second_opinion,
                export=export,
                progress=lambda done, slices, name: progress(f"proved {name} ({done} of {slices})"),
            )
        else:
            proof = run(
                load_model(_sized(model, **sizes)),
                wanted,
                any_number_of=any_number_of,
                second_opinion=second_opinion,
                export=export,
                progress=lambda done, actions, name: progress(f"proving {model}: {name} ({done + 1} of {actions})"),
            )
    for item in proof.obligations:
        if item.verdict != "proved":
            under = f" under {item.action}" if item.action else ""
            where = f" in {item.model}" if item.model else ""
            say(f"{item.verdict}: {item.invariant} ({item.property}){under}{where} {item.reason}".rstrip())
            for name, value in item.arguments.items():
                say(f"     with {name} = {value}")
            changes = {name: after for name, after in item.after.items() if after != item.before.get(name)}
            for name, after in changes.items():
                say(f"     changes: {name} = {item.before[name]} -> {after}")
            for name, before in item.before.items():
                if name not in changes:
                    say(f"     stays:   {name} = {before}")
    if suggest:
        _suggest(proof, model)
    for bound in proof.bounds:
        say(f"  within: {bound.name}: {bound.value}")
    if proof.second_opinion is not None:
        opinion = proof.second_opinion
        say(f"  second opinion: {opinion.solver} agrees on {opinion.agreed} of {opinion.asked} questions")
        for open_question in opinion.not_concluded:
            say(
                f"     {opinion.solver} could not conclude: {open_question.invariant} ({open_question.property}) "
                f"under {open_question.action}"
            )
    if export is not None:
        say(f"  written: {export}")
    proved = sum(item.verdict == "proved" for item in proof.obligations)
    verdict_line(proof.verdict, f"{proof.model}: {proved} of {len(proof.obligations)} obligations proved")
    _finish(session.report(proof.verdict, proof), json)


def _suggest(proof: "Proof", model: str | None) -> None:
    """Print what Spacer finds for the properties that were not proved, on each model at its own sizes."""
    from holdfast.console import say, telling
    from holdfast_model.checkers.formulas import small_of
    from holdfast_model.checkers.spacer import suggestions
    from holdfast_model.specs import load_model

    by_model: dict[str, list[Obligation]] = {}
    for item in proof.obligations:
        by_model.setdefault(model or small_of(item.model or proof.model), []).append(item)
    for name, items in by_model.items():
        with telling() as progress:
            progress(f"looking for what is missing in {name}")
            found = suggestions(load_model(name), items)
        for each in found:
            if each.reason:
                say(f"no suggestion for {each.invariant} ({each.property}): {each.reason}")
                continue
            say(f"suggestion for {each.invariant} ({each.property}), not a proof: inductive in {each.model} is")
            for condition in each.conditions:
                say(f"     {condition}")


def _accounts(text: str | None) -> int | None:
    """The number of accounts that was asked for; None for the model's own, which `any` shows its refutations with."""
    from holdfast_model.errors import HoldfastError

    if text is None or text == "any":
        return None
    if text.isascii() and text.isdigit() and int(text) >= 1:
        return int(text)
    raise HoldfastError(f"--accounts is {text!r}; expected a whole number from 1, or any")


def _sized(model: str, **parameters: int | None) -> str:
    """The model's name with more parameters."""
    more = [f"{name}={value}" for name, value in parameters.items() if value is not None]
    if not more:
        return model
    return f"{model}{',' if ':' in model else ':'}{','.join(more)}"


@app.command()
def explore(
    model: Model = "spot",
    symmetry: Annotated[
        str | None,
        typer.Option("--symmetry", metavar="SORT", help="Count states that differ only by names of this sort once."),
    ] = None,
    json: Json = None,
) -> None:
    """Visit every reachable state of a model; the shortest way to each violation."""
    from holdfast.console import say, telling, verdict_line
    from holdfast_model.checkers.explore import explore as run
    from holdfast_model.specs import load_model

    session = _session("explore", json)
    loaded = load_model(model)
    with telling() as progress:
        found = run(
            loaded,
            symmetry=symmetry,
            progress=lambda level, distinct, generated: progress(
                f"exploring {model}: level {level}, {distinct:,} distinct of {generated:,} generated"
            ),
        )
    for violation in found.violations:
        say(f"{violation.invariant} ({violation.property}) is violated in {violation.states} states:")
        before: dict[str, str] = {}
        for state in violation.trace:
            say(f"  {state.action}")
            for name, value in state.state.items():
                if before and before.get(name) != value:
                    say(f"       {name}: {before.get(name, 'nothing')} -> {value}")
            before = state.state
    for action in found.actions:
        if not action.taken:
            say(f"  never enabled: {action.action}")
    for bound in found.bounds:
        say(f"  within: {bound.name}: {bound.value}")
    say(
        f"  {found.distinct:,} distinct states, {found.generated:,} generated, depth {found.depth}; probability that "
        f"a state was missed: {found.collision_probability:.2g}"
    )
    verdict_line(found.verdict, found.model + ("" if found.complete else f": stopped by {found.stopped_by}"))
    _finish(session.report(found.verdict, found), json)


@app.command()
def fuzz(
    engine: Engine = "reference",
    commands: Commands = None,
    seconds: Seconds = None,
    seed: Seed = DEFAULT_SEED,
    out: Out = DEFAULT_OUT,
    json: Json = None,
) -> None:
    """Seeded sequences in volume on one engine, with every invariant checked."""
    from holdfast.console import say, telling, verdict_line
    from holdfast.counterexamples import summary
    from holdfast.engines import EngineSource
    from holdfast.fuzzing import Fuzz, counterexamples_of
    from holdfast.fuzzing import fuzz as run
    from holdfast.reporting import Folder
    from holdfast.setups import setups_for, signing_bounds
    from holdfast_invariants.auditor import not_checkable
    from holdfast_model.evidence import Bound, ExitStatus
    from holdfast_model.findings import FuzzResult

    session = _session("fuzz", json)
    commands = _amount(commands, seconds, default=20_000)
    with EngineSource(engine) as source:
        folder = Folder(out)
        with telling() as progress:
            identity = source.engine().identity
            outcome = Fuzz()
            try:
                run(source, seed=seed, commands=commands, seconds=seconds, progress=progress, into=outcome)
            except KeyboardInterrupt:
                outcome.interrupted = True
                source.discard()
            found = [
                (invariant, item, folder.add(invariant, item))
                for invariant, item in counterexamples_of(source, outcome, seed=seed, progress=progress)
            ]
    result = FuzzResult(
        engine=engine,
        seed=seed,
        commands=outcome.commands,
        journal_sha256=outcome.journal_sha256,
        run=outcome.run(
            kind="generator",
            name="fuzz",
            sentence="Seeded sequences of trading and funds, mixed with maintenance, kills, failover and bursts.",
            bounds=(
                Bound(name="commands", value=str(outcome.commands)),
                Bound(name="seed", value=str(seed)),
                *signing_bounds(*setups_for(identity.capabilities)),
            ),
        ),
        violations=tuple(outcome.violations),
        counterexamples=tuple(summary(item, file=file, invariant=invariant) for invariant, item, file in found),
        not_checked=not_checkable(identity.capabilities),
    )
    report = session.report(
        outcome.verdict, result, exit_status=ExitStatus.INTERRUPTED if outcome.interrupted else None
    )
    folder.finish(report)
    for counterexample in result.counterexamples:
        say(f"{counterexample.invariant}: {counterexample.found}; see {out / counterexample.file}")
    verdict_line(
        outcome.verdict, f"{outcome.commands:,} commands in {outcome.episodes:,} sequences on {engine}, seed {seed}"
    )
    _finish(report, json)


def _amount(commands: int | None, seconds: float | None, *, default: int) -> int | None:
    """The number of commands to run; None where the time decides."""
    from holdfast_model.errors import HoldfastError

    if commands is not None and seconds is not None:
        raise HoldfastError("--commands and --seconds exclude each other; give one")
    return default if commands is None and seconds is None else commands


@app.command()
def faults(
    names: Annotated[
        list[str] | None, typer.Argument(metavar="[NAME]...", help="Planted bugs; all of them without any.")
    ] = None,
    commands: Commands = None,
    seed: Seed = DEFAULT_SEED,
    json: Json = None,
) -> None:
    """Every planted bug against every invariant: the proof that green can turn red."""
    from holdfast.console import say, telling, verdict_line
    from holdfast.faulting import run_faults, verdict_of
    from holdfast_engine.faults import FAULTS, fault_by_name

    session = _session("faults", json)
    chosen = [fault_by_name(name) for name in names] if names else FAULTS
    with telling() as progress:
        result = run_faults(chosen, seed=seed, commands=commands or 20_000, progress=progress)
    width = max(len(item.fault) for item in result.faults)
    for item in result.faults:
        say(
            f"{item.verdict:7}{item.fault:{width + 1}} {item.commands:3} commands, found after "
            f"{item.commands_to_find:5}; must {'/'.join(item.names)}; fired {' '.join(item.caught_by)}"
        )
    verdict = verdict_of(result)
    caught = sum(item.verdict == "caught" for item in result.faults)
    say(f"healthy engine: {result.healthy.commands:,} commands, {len(result.healthy.violations)} violations")
    verdict_line(verdict, f"{caught} of {len(result.faults)} planted bugs caught by every invariant that they name")
    _finish(session.report(verdict, result), json)


@app.command()
def replay(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="A counterexample that another command wrote.")],
    engine: Annotated[
        str | None,
        typer.Option("--engine", metavar="ENGINE", help="Run it on this engine, not the recorded one."),
    ] = None,
    json: Json = None,
) -> None:
    """Run a recorded sequence again, step by step, with balances and book before and after."""
    from holdfast.console import say, verdict_line
    from holdfast.engines import EngineSource
    from holdfast.replaying import replay as run

    session = _session("replay", json)
    result, verdict = run(file, engine, EngineSource)
    say(f"{file} on {result.engine}: {result.commands} commands")
    _tell(result.narrative)
    count = len(result.violations) + len(result.differences)
    text = "the recorded finding shows again" if result.reproduced else "the recorded finding does not show"
    verdict_line(verdict, f"{count} violations or differences; {text}")
    _finish(session.report(verdict, result), json)


@app.command()
def diff(
    engine: Engine,
    commands: Commands = None,
    seconds: Seconds = None,
    seed: Seed = DEFAULT_SEED,
    out: Out = DEFAULT_OUT,
    json: Json = None,
) -> None:
    """Compare an engine with the reference, step by step; each kind of difference is shrunk."""
    from holdfast.console import say, telling, verdict_line
    from holdfast.differing import Diff
    from holdfast.engines import EngineSource
    from holdfast.reporting import Folder
    from holdfast_model.evidence import ExitStatus, Verdict

    session = _session("diff", json)
    commands = _amount(commands, seconds, default=5_000)
    with EngineSource(engine) as source:
        folder = Folder(out)
        with telling() as progress:
            work = Diff(source, seed=seed)
            interrupted = False
            try:
                work.run(commands=commands, seconds=seconds, progress=progress)
            except KeyboardInterrupt:
                interrupted = True
    result = work.result(
        {number: folder.add("DIFF", item.counterexample) for number, item in enumerate(work.findings)}
    )
    verdict = Verdict.VIOLATED if result.differences else Verdict.INCONCLUSIVE if interrupted else Verdict.HELD
    report = session.report(verdict, result, exit_status=ExitStatus.INTERRUPTED if interrupted else None)
    folder.finish(report)
    for finding in result.differences:
        say(f"{finding.kind}: {finding.commands} commands, met {finding.occurrences} times; {out / finding.file}")
        _tell(finding.narrative)
    for name, where in result.conventions:
        say(f"  convention {name}: {where}")
    for item in result.not_checked:
        say(f"  not compared: {item.subject}: {item.reason}")
    verdict_line(
        verdict, f"{len(result.differences)} differences in {result.commands:,} commands, {engine}, seed {seed}"
    )
    _finish(report, json)


@app.command()
def engines(
    name: Annotated[str | None, typer.Argument(metavar="[NAME]", help="One engine; all without it.")] = None,
    *,
    install: Annotated[bool, typer.Option("--install", help="Install it (all of them without a name).")] = False,
) -> None:
    """What can be tested, and what each engine declares."""
    from holdfast.listing import list_engines

    list_engines(name, install=install)


@app.command()
def invariants(
    ids: Annotated[list[str] | None, typer.Argument(metavar="[ID]...", help="Ids; all without any.")] = None,
    json: Json = None,
) -> None:
    """The catalogue: what is checked, what it re-enacts, and which planted bugs it must catch."""
    from holdfast.listing import list_invariants

    list_invariants(ids or [], json)


@app.command()
def report(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="A folder that another command wrote.")],
) -> None:
    """Verify recorded evidence, and render it again."""
    from holdfast.console import say, verdict_line
    from holdfast_model.evidence import ExitStatus, Verdict
    from holdfast_reports import load, render, verify

    found = load(folder)
    problems = verify(folder)
    for problem in problems:
        say(problem)
    if problems:
        verdict_line(Verdict.VIOLATED, f"{folder}: the evidence contradicts itself; nothing was rendered")
        raise typer.Exit(ExitStatus.VIOLATED)
    files = render(found, folder)
    verdict_line(
        found.verdict, f"recorded; the evidence agrees with itself; wrote {', '.join(str(file) for file in files)}"
    )
    raise typer.Exit(found.exit_status)
