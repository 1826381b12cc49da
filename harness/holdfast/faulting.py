"""The proof that the harness works: every planted fault run through the generator, the healthy engine beside it."""

from collections.abc import Callable, Mapping, Sequence
from functools import partial

from msgspec.structs import replace

from holdfast.counterexamples import Progress, silent, smallest
from holdfast.engines import FAULT_PREFIX, REFERENCE, EngineSource
from holdfast.fuzzing import Fuzz, fuzz
from holdfast.healing import REST_BOUND
from holdfast.setups import setups_for, signing_bounds
from holdfast.workers import WORKERS, Lost, spread
from holdfast_engine.faults import FAULTS, Fault, fault_by_name
from holdfast_invariants.catalogue import CATALOGUE, invariant_by_id
from holdfast_model.evidence import Bound, Verdict, worst
from holdfast_model.findings import FaultOutcome, FaultsResult, FaultVerdict, Run
from holdfast_model.vocabulary import Capability, Setup, command_count

Kept = Callable[[FaultsResult], object]
"""Is told what is known so far, after each fault: those that were not tried yet say so."""


NOT_TRIED = "the run ended before it was tried"
_HEALTHY = "The reference exchange without a fault."


def representatives(each: int) -> tuple[Fault, ...]:
    """So many planted faults of each invariant, those first that name it first, and one of each incident."""
    chosen: set[str] = set()
    for invariant in CATALOGUE:
        naming = [fault for fault in FAULTS if invariant.id in fault.violates]
        naming.sort(key=lambda fault: fault.violates.index(invariant.id))
        chosen.update(fault.name for fault in naming[:each])
    shown = {incident for fault in FAULTS if fault.name in chosen for incident in fault.incidents}
    for fault in FAULTS:
        if not shown.issuperset(fault.incidents):
            chosen.add(fault.name)
            shown.update(fault.incidents)
    return tuple(fault for fault in FAULTS if fault.name in chosen)


def run_faults(
    faults: Sequence[Fault] = FAULTS,
    *,
    seed: int,
    commands: int,
    progress: Progress = silent,
    kept: Kept = lambda _: None,
    workers: Callable[[], int] | int = WORKERS,
) -> FaultsResult:
    """Run each fault until all invariants that it names have fired, or so many commands were run.

    The healthy engine goes through all of the commands; whatever fires there is a false alarm. Healthy and faulty are
    shared among processes; a fault whose process dies or hangs is missed, because nothing is known of it.
    """
    progress("the healthy engine")
    bounds = _bounds(seed=seed, commands=commands)
    known = {fault.name: replace(_lost(fault), reason=NOT_TRIED) for fault in faults}
    found = spread(
        partial(_run, seed=seed, commands=commands),
        [REFERENCE, *known],
        guard_seconds=guard_seconds(commands),
        workers=workers,
    )
    first = next(found)
    healthy = _unknown(bounds, first.how) if isinstance(first, Lost) else first
    assert isinstance(healthy, Run)
    for fault, outcome in zip(faults, found, strict=True):
        progress(f"fault {fault.name}")
        assert not isinstance(outcome, Run)
        known[fault.name] = replace(_lost(fault), reason=outcome.how) if isinstance(outcome, Lost) else outcome
        kept(FaultsResult(bounds=bounds, faults=tuple(known.values()), healthy=healthy))
    return FaultsResult(bounds=bounds, faults=tuple(known.values()), healthy=healthy)


def _bounds(*, seed: int, commands: int) -> tuple[Bound, ...]:
    with EngineSource(REFERENCE) as source:
        setups = setups_for(source.engine().identity.capabilities)
    return (
        Bound(name="commands for each engine at most", value=str(commands)),
        Bound(name="seed", value=str(seed)),
        REST_BOUND,
        *signing_bounds(*setups),
    )


def guard_seconds(commands: int) -> float:
    """How long a fault may take before its process counts as hanging: many times what a slow machine needs."""
    return max(600.0, commands / 20)


_HAS: Mapping[Capability, Callable[[Setup], bool]] = {
    Capability.CUSTODY: lambda setup: setup.custody is not None,
    Capability.MARKS: lambda setup: setup.margin is not None,
    Capability.MARGIN: lambda setup: setup.margin is not None,
    Capability.PROCEDURE: lambda setup: setup.procedure,
    Capability.PRICE_BANDS: lambda setup: any(market.band_ppm for market in setup.markets),
}
"""Whether a setup has something to do with a capability; with all others each has."""


def turns(fault: Fault, capabilities: frozenset[Capability]) -> tuple[Setup, ...]:
    """The setups in which a fault can show: what speaks of custody or margin says nothing where there is none.

    What is about maintenance by procedure shows best where there is another release to install, if there is one.
    """
    needs = needs_of(fault)
    wanted = [_HAS[need] for need in sorted(needs & _HAS.keys())]
    found = tuple(setup for setup in setups_for(capabilities) if all(has(setup) for has in wanted))
    upgraded = tuple(setup for setup in found if len(setup.releases) > 1)
    return upgraded if upgraded and Capability.PROCEDURE in needs else found


def needs_of(fault: Fault) -> frozenset[Capability]:
    """What a setup must have for a fault to show: what the fault needs, and what its invariants speak of."""
    return fault.needs.union(*(invariant_by_id(identifier).needs for identifier in fault.violates))


def _run(name: str, *, seed: int, commands: int) -> FaultOutcome | Run:
    """What became of the fault of this name, or of the reference without any."""
    return _healthy(seed, commands) if name == REFERENCE else _faulty(fault_by_name(name), seed, commands)


def _healthy(seed: int, commands: int) -> Run:
    with EngineSource(REFERENCE) as source:
        outcome = fuzz(source, seed=seed, commands=commands)
    return outcome.run(
        kind="generator", name="healthy", sentence=_HEALTHY, bounds=_bounds(seed=seed, commands=commands)
    )


def _unknown(bounds: tuple[Bound, ...], reason: str) -> Run:
    """The healthy engine's run, of which nothing is known."""
    return replace(Fuzz().run(kind="generator", name="healthy", sentence=_HEALTHY, bounds=bounds), reason=reason)


def _faulty(fault: Fault, seed: int, commands: int) -> FaultOutcome:
    named = frozenset(fault.violates)

    def all_fired(outcome: Fuzz) -> bool:
        return named <= outcome.first.keys()

    with EngineSource(FAULT_PREFIX + fault.name) as source:
        setups = turns(fault, source.engine().identity.capabilities)
        outcome = fuzz(source, seed=seed, commands=commands, setups=setups, stop=all_fired)
        size = 0
        found = [invariant for invariant in fault.violates if invariant in outcome.first]
        if found:
            _, setup, steps = outcome.first[found[0]]
            small = smallest(source, setup, steps, found[0])
            size = command_count(small)
    return replace(
        _lost(fault),
        caught_by=tuple(sorted(outcome.first)),
        commands=size,
        commands_to_find=min((outcome.commands_to_find[invariant] for invariant in found), default=0),
        verdict=FaultVerdict.CAUGHT if all_fired(outcome) else FaultVerdict.MISSED,
    )


def _lost(fault: Fault) -> FaultOutcome:
    """What is known of a fault of which nothing was seen."""
    return FaultOutcome(
        fault=fault.name,
        sentence=fault.sentence,
        incidents=fault.incidents,
        names=fault.violates,
        caught_by=(),
        commands=0,
        commands_to_find=0,
        verdict=FaultVerdict.MISSED,
    )


def verdict_of(result: FaultsResult) -> Verdict:
    """A fault that is missed proves nothing against the engine under test: then nothing is concluded."""
    missed = any(outcome.verdict is FaultVerdict.MISSED for outcome in result.faults)
    return worst([result.healthy.verdict, Verdict.INCONCLUSIVE if missed else Verdict.HELD])
