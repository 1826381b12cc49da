"""The `holdfast` command line. What a command needs is imported when it runs, so that help is quick."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from holdfast.reporting import Session
    from holdfast_model.evidence import Obligation, Proof, SecondOpinion
    from holdfast_model.findings import AnyReport

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
TraceOut = Annotated[
    Path | None,
    typer.Option("--out", metavar="DIR", help="Write every trace that is found as an ITF file below this folder."),
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


@app.command()
def gate(
    profile: Annotated[
        str, typer.Option("--profile", metavar="PROFILE", help="smoke, ci or nightly: a fixed amount of work.")
    ] = "smoke",
    engine: Engine = "reference",
    seed: Seed = DEFAULT_SEED,
    out: Out = DEFAULT_OUT,
    workers: Annotated[
        int | None,
        typer.Option(
            "--workers",
            min=1,
            help="How many engines may be under test at once, each with its own data directory; the result is the "
            "same. As many as there are cores without.",
        ),
    ] = None,
    json: Json = None,
) -> None:
    """The main job: proofs, exploration, link, machine, volume, scenarios and faults, and a report of them."""
    from holdfast.console import say, telling, verdict_line
    from holdfast.engines import EngineSource
    from holdfast.gating import Gate, profile_by_name
    from holdfast.reporting import Folder
    from holdfast.witnessing import write_witnesses
    from holdfast.workers import WORKERS
    from holdfast_model.evidence import ExitStatus

    session = _session("gate", json)
    chosen = profile_by_name(profile)
    with EngineSource(engine) as source:
        folder = Folder(out)
        files: dict[int, str] = {}

        def known() -> "AnyReport":
            return session.report(work.verdict(), work.result(files), timing=work.timing)

        with telling() as progress:
            work = Gate(
                source,
                chosen,
                seed=seed,
                progress=progress,
                found=lambda number, name, found: files.setdefault(number, folder.add(name, found)),
                kept=lambda *, at_once: folder.keep(known, at_once=at_once),
                workers=workers or WORKERS,
            )
            interrupted = False
            try:
                work.run()
            except KeyboardInterrupt:
                interrupted = True
        verdict = work.verdict()
        report = session.report(
            verdict,
            work.result(files, write_witnesses(folder, work.hunt.witnesses())),
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
    for link in result.links:
        verdict_line(
            link.verdict,
            f"link of {link.model} and the reference: {link.steps} steps one way, {link.moves} moves the other",
        )
        if link.difference is not None:
            differs = link.difference
            say(
                f"  {link.origin}, step {differs.step}, {differs.action}: {differs.variable} is {differs.model} "
                f"in the model and {differs.engine} in the exchange"
            )
    if result.witnesses is not None:
        reached = sum(goal.method is not None for goal in result.witnesses.goals)
        verdict_line(
            result.witnesses.verdict,
            f"shortest sequences to goals: {reached} of {len(result.witnesses.goals)} goals reached",
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
    out: TraceOut = None,
    bound_steps: Annotated[
        int | None,
        typer.Option(
            "--bound",
            min=1,
            metavar="N",
            help="Look for a sequence of up to N steps, from the first state, that breaks what is not proved.",
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
    With --bound also 1 where a sequence breaks a property; that none does within N steps makes nothing green.
    """
    from holdfast.console import say, say_steps, telling, verdict_line
    from holdfast.tracing import TraceFolder, write_refutations
    from holdfast_invariants.catalogue import invariant_by_id
    from holdfast_model.checkers.formulas import prove_formulas
    from holdfast_model.checkers.prove import prove as run
    from holdfast_model.errors import HoldfastError
    from holdfast_model.specs import load_model
    from holdfast_model.traces import narrated, trace_of_refutation

    if model is None and (out is not None or bound_steps is not None):
        option = "--out" if out is not None else "--bound"
        raise HoldfastError(f"{option} is for one model; expected --model MODEL beside it")
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
            if item.after:
                say_steps(narrated(trace_of_refutation(load_model(item.model or proof.model), item)))
    if suggest:
        _suggest(proof, model)
    for bound in proof.bounds:
        say(f"  within: {bound.name}: {bound.value}")
    if proof.second_opinion is not None:
        _say_second_opinion(proof.second_opinion)
    if export is not None:
        say(f"  written: {export}")
    if out is not None:
        loaded = load_model(proof.model)
        for file in write_refutations(TraceFolder(out, loaded), loaded, proof.obligations):
            say(f"  written: {file}")
    if bound_steps is not None:
        from holdfast.bounding import bounded

        proof = bounded(load_model(proof.model), proof, steps_max=bound_steps)
    proved = sum(item.verdict == "proved" for item in proof.obligations)
    verdict_line(proof.verdict, f"{proof.model}: {proved} of {len(proof.obligations)} obligations proved")
    _finish(session.report(proof.verdict, proof), json)


def _say_second_opinion(opinion: "SecondOpinion") -> None:
    """Print on how much another solver agrees, within which limits, and each obligation that it leaves open."""
    from holdfast.console import say

    left = opinion.asked - opinion.agreed
    rest = f", and has no answer to {left}, on which these rest" if left else ""
    say(f"  second opinion: {opinion.solver} agrees on {opinion.agreed} of {opinion.asked} questions{rest}")
    for item in opinion.not_concluded:
        where = f" in {item.model}" if item.model else ""
        under = f" under {item.action}" if item.action else ""
        what = f"{item.invariant} ({item.property})" if item.invariant else "whether a step can be taken"
        say(f"     {opinion.solver} could not conclude: {what}{under}{where}: {item.reason}")
    for bound in opinion.bounds:
        say(f"     within: {bound.name}: {bound.value}")


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
    invariants: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[INVARIANT]...",
            help="Ids; the search ends when each of them is violated; of what comes eventually, never before all is "
            "visited. Without any: when all are.",
        ),
    ] = None,
    model: Model = "spot",
    symmetry: Annotated[
        str | None,
        typer.Option(
            "--symmetry",
            metavar="SORT",
            help="Count states that differ only by names of this sort (accounts, say) once; checked in every state.",
        ),
    ] = None,
    deadlocks: Annotated[
        str,
        typer.Option(
            "--deadlocks",
            metavar="MEANING",
            help=(
                "What a state without a step is: violation (unless the spec declares it as an end), report, or "
                "declared: a violation where the spec declares ends."
            ),
        ),
    ] = "declared",
    memory: Annotated[
        int, typer.Option("--memory", metavar="MB", min=16, help="Stop when states take this much; status 3.")
    ] = 4096,
    workers: Annotated[
        int | None,
        typer.Option(
            "--workers", min=1, max=2, help="How many processes; the result is the same. All cores without."
        ),
    ] = None,
    out: TraceOut = None,
    export: Annotated[
        Path | None,
        typer.Option(
            "--export",
            metavar="DIR",
            help="First write the model as a TLA+ module with a configuration, so that TLC can check the counts.",
        ),
    ] = None,
    json: Json = None,
) -> None:
    """Visit every reachable state of a model; the shortest way to each violation.

    All properties are judged; with invariants named the search ends as soon as each of them is violated.

    Exit status 0: every state was visited, all properties hold and all goals were reached. 1: a violation. 3: a limit
    stopped the search, or a goal was never reached. 130: interrupted. What was covered is printed in each case.
    """
    from holdfast.console import say, stoppable, telling, verdict_line
    from holdfast.exploring import say_exploration
    from holdfast_invariants.catalogue import invariant_by_id
    from holdfast_model.checkers.explore import INTERRUPTED, Deadlocks
    from holdfast_model.checkers.explore import explore as run
    from holdfast_model.errors import HoldfastError
    from holdfast_model.evidence import EXIT_STATUS_BY_VERDICT, ExitStatus
    from holdfast_model.specs import load_model

    session = None if json is None else _session("explore", json)
    if deadlocks not in list(Deadlocks):
        raise HoldfastError(f"--deadlocks is {deadlocks!r}; expected one of: {', '.join(Deadlocks)}")
    wanted = tuple(invariant_by_id(identifier).id for identifier in invariants or ())
    loaded = load_model(model)
    if export is not None:
        from holdfast_model.tlaplus import export as run_export
        from holdfast_model.tlaplus import tlc_command

        written = run_export(loaded, export)
        say(f"  written: {export / written.name}.tla and .cfg; in {export}: {tlc_command(written.name)}")
    with telling() as progress, stoppable() as stop:
        found = run(
            loaded,
            wanted,
            symmetry=symmetry,
            deadlocks=Deadlocks(deadlocks),
            memory_bytes_max=memory << 20,
            workers=workers,
            stop=stop,
            progress=lambda level, distinct, generated: progress(
                f"exploring {model}: level {level}, {distinct:,} distinct of {generated:,} generated"
            ),
        )
    say_exploration(found)
    if out is not None:
        from holdfast.tracing import TraceFolder, write_exploration

        for file in write_exploration(TraceFolder(out, loaded), found):
            say(f"  written: {file}")
    interrupted = found.stopped_by == INTERRUPTED
    ended = "" if found.complete else ": interrupted" if interrupted else f": stopped by {found.stopped_by}"
    verdict_line(found.verdict, found.model + ended)
    status = ExitStatus.INTERRUPTED if interrupted else EXIT_STATUS_BY_VERDICT[found.verdict]
    if session is None:
        raise typer.Exit(status)
    _finish(session.report(found.verdict, found, exit_status=status), json)


@app.command()
def witness(
    goals: Annotated[
        list[str] | None, typer.Argument(metavar="[GOAL]...", help="Goals; all of them without any.")
    ] = None,
    model: Annotated[
        str | None,
        typer.Option("--model", metavar="MODEL", help="Look on this model; else each goal where it lives."),
    ] = None,
    *,
    all_: Annotated[
        bool, typer.Option("--all", help="Keep several sequences of each goal that differ by the names of actions.")
    ] = False,
    out: Out = DEFAULT_OUT,
    json: Json = None,
) -> None:
    """The shortest sequence to each goal, such as a failover during a partly signed withdrawal.

    Each is replayed on the reference exchange. Exit status 0: each was reached. 1: something broke on the way, or the
    exchange went another. 3: a goal was not reached, which says why.
    """
    from holdfast.console import say, say_steps, telling, verdict_line
    from holdfast.reporting import Folder
    from holdfast.witnessing import (
        SEQUENCES_ALL,
        goals_sought,
        hunt_for,
        on_reference,
        say_witnesses,
        write_witnesses,
    )
    from holdfast_model.checkers.witness import Hunt, Limits
    from holdfast_model.evidence import ExitStatus
    from holdfast_model.traces import narrated

    session = _session("witness", json)
    sought = goals_sought(goals or [], model)
    folder = Folder(out)
    with telling() as progress:
        hunt = Hunt(Limits(sequences=SEQUENCES_ALL if all_ else 1), progress, on_reference)
        try:
            hunt_for(hunt, sought)
        except KeyboardInterrupt:
            hunt.interrupted = True
    found = hunt.witnesses()
    result = hunt.result(write_witnesses(folder, found))
    status = ExitStatus.INTERRUPTED if hunt.interrupted else None
    report = session.report(result.verdict, result, timing=hunt.timing, exit_status=status)
    folder.finish(report)
    if goals:
        for each in found:
            say(f"{each.goal}, step by step:")
            say_steps(narrated(each.trace))
    say_witnesses(result, str(out))
    reached = sum(goal.method is not None for goal in result.goals)
    verdict_line(result.verdict, f"{reached} of {sum(map(len, sought.values()))} goals reached")
    _finish(report, json)


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
    from holdfast.healing import REST_BOUND
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
                REST_BOUND,
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
    """Every planted bug against every invariant: the proof that green can turn red.

    Each is looked for in as many commands as in the gate's profile ci, unless --commands says otherwise.
    """
    from holdfast.console import say, telling, verdict_line
    from holdfast.faulting import run_faults, verdict_of
    from holdfast.gating import PROFILES
    from holdfast.reporting import Rarely, write_json
    from holdfast_engine.faults import FAULTS, fault_by_name
    from holdfast_model.evidence import ExitStatus
    from holdfast_model.findings import FaultsResult

    session = _session("faults", json)
    chosen = [fault_by_name(name) for name in names] if names else FAULTS
    result: FaultsResult | None = None
    interrupted, rarely = False, Rarely()

    def keep(known: FaultsResult) -> None:
        nonlocal result
        result = known
        if json not in {None, "-"} and rarely.due():
            write_json(session.report(verdict_of(known), known), str(json))

    with telling() as progress:
        try:
            bound = commands or PROFILES["ci"].fault_commands
            result = run_faults(chosen, seed=seed, commands=bound, progress=progress, kept=keep)
        except KeyboardInterrupt:
            if result is None:
                raise
            interrupted = True
    width = max(len(item.fault) for item in result.faults)
    for item in result.faults:
        say(
            f"{item.verdict:7}{item.fault:{width + 1}} {item.commands:3} commands, found after "
            f"{item.commands_to_find:5}; must {'/'.join(item.names)}; fired {' '.join(item.caught_by)}"
        )
        if item.reason:
            say(f"  nothing is known of {item.fault}: {item.reason}")
    if interrupted:
        say("interrupted: what follows holds what is known so far")
    verdict = verdict_of(result)
    caught = sum(item.verdict == "caught" for item in result.faults)
    say(f"healthy engine: {result.healthy.commands:,} commands, {len(result.healthy.violations)} violations")
    verdict_line(verdict, f"{caught} of {len(result.faults)} planted bugs caught by every invariant that they name")
    status = ExitStatus.INTERRUPTED if interrupted else None
    _finish(session.report(verdict, result, exit_status=status), json)


@app.command()
def replay(
    file: Annotated[
        Path, typer.Argument(metavar="FILE", help="A counterexample that another command wrote, or an ITF trace.")
    ],
    engine: Annotated[
        str | None,
        typer.Option("--engine", metavar="ENGINE", help="Run it on this engine, not the recorded one."),
    ] = None,
    model: Annotated[
        str | None,
        typer.Option("--model", metavar="MODEL", help="Follow an ITF trace on this model, not the recorded one."),
    ] = None,
    json: Json = None,
) -> None:
    """Run a recorded sequence again, step by step, with balances and book before and after.

    A trace of a model (an ITF file) is followed on the model: exit status 0 if it is a path that breaks nothing, 1 if
    it breaks a property or is no path; the first differing step is shown.
    """
    from holdfast.console import say, say_steps, verdict_line
    from holdfast.tracing import trace_bytes

    session = _session("replay", json)
    trace = trace_bytes(file, engine=engine, model=model)
    if trace is not None:
        from holdfast.tracing import conclusion, replay_trace

        result, verdict = replay_trace(file, trace, model)
        say(f"{file} on {result.engine}: {result.commands} steps")
        say_steps(result.narrative)
        verdict_line(verdict, conclusion(result))
        _finish(session.report(verdict, result), json)
    from holdfast.engines import EngineSource
    from holdfast.replaying import replay as run

    result, verdict = run(file, engine, EngineSource)
    say(f"{file} on {result.engine}: {result.commands} commands")
    say_steps(result.narrative)
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
    from holdfast.console import say, say_steps, telling, verdict_line
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
        say_steps(finding.narrative)
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
    from holdfast_reports import UNFINISHED_FILE, load, render, verify

    kept = folder / UNFINISHED_FILE
    if kept.is_file():
        found = load(kept)
        say(f"{folder}: the run that wrote it was not let finish; this is what it had finished")
        for name in getattr(found.result, "unfinished", ()):
            say(f"  not finished: {name}")
        render(found, folder)
        kept.unlink()
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
