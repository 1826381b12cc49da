"""Lists: the engines that can be tested, and the catalogue of invariants."""

from msgspec import Struct

from holdfast.console import say
from holdfast.engines import FAULT_PREFIX, REFERENCE
from holdfast.reporting import Session, write_json
from holdfast_adapters.registry import adapter_by_name, adapter_names, installed
from holdfast_adapters.registry import install as install_adapter
from holdfast_engine.faults import FAULTS
from holdfast_invariants.catalogue import CATALOGUE, invariant_by_id
from holdfast_model.evidence import Verdict
from holdfast_model.spec.language import PropertyKind
from holdfast_model.specs import list_models
from holdfast_model.vocabulary import Capability


def list_engines(name: str | None, *, install: bool) -> None:
    """Print what can be tested; with `install`, install the adapters' engines first."""
    names = adapter_names() if name is None else (name,)
    if install:
        for each in names:
            adapter_by_name(each)
            say(f"installing {each}")
            install_adapter(each)
    if name is None:
        say(f"{REFERENCE}: the reference exchange; declares {', '.join(Capability)}")
    for each in names:
        if each == REFERENCE or each.startswith(FAULT_PREFIX):
            say(f"{each}: declares {', '.join(Capability)}")
            continue
        adapter = adapter_by_name(each)
        state = "installed" if installed(each) else f"not installed: run holdfast engines {each} --install"
        say(f"{each}: {adapter.sentence} ({state})")
        say(f"  declares {', '.join(adapter.capabilities)}")
        for convention in adapter.conventions:
            say(f"  convention {convention.convention}: {convention.where}")
    if name is None:
        for fault in FAULTS:
            say(f"{FAULT_PREFIX}{fault.name}: {fault.sentence}")


class InvariantEntry(Struct, frozen=True, kw_only=True):
    """A catalogue entry as `holdfast invariants --json` writes it."""

    id: str
    kind: str
    sentence: str
    severity: str
    incidents: tuple[str, ...]
    needs: tuple[str, ...]
    forms: tuple[str, ...]
    faults: tuple[str, ...]


class InvariantsResult(Struct, frozen=True, kw_only=True):
    """`holdfast invariants`."""

    invariants: tuple[InvariantEntry, ...]


def catalogue_entries(ids: list[str]) -> tuple[InvariantEntry, ...]:
    """The entries of these ids, all without any, with the planted faults that each must catch."""
    chosen = [invariant_by_id(identifier) for identifier in ids] if ids else list(CATALOGUE)
    return tuple(
        InvariantEntry(
            id=invariant.id,
            kind=invariant.kind,
            sentence=invariant.sentence,
            severity=invariant.severity,
            incidents=invariant.incidents,
            needs=tuple(sorted(invariant.needs)),
            forms=(f"monitor {invariant.monitor.__name__}", *_formulas(invariant.id)),
            faults=tuple(fault.name for fault in FAULTS if invariant.id in fault.violates),
        )
        for invariant in chosen
    )


_FORMULA_OF = {
    PropertyKind.ALWAYS: "of each state",
    PropertyKind.STEP: "of each step",
    PropertyKind.EVENTUALLY: "of what can still be reached",
}


def _formulas(identifier: str) -> tuple[str, ...]:
    """In which models an invariant is a formula, of what, and the names of its properties there."""
    forms = []
    for model in list_models():
        for kind, what in _FORMULA_OF.items():
            names = [
                item.name
                for item in model.spec.declared_properties()
                if item.invariant == identifier and item.kind is kind and not item.auxiliary
            ]
            if names:
                forms.append(f"formula {what} in the model {model.name} ({', '.join(dict.fromkeys(names))})")
    return tuple(forms)


def list_invariants(ids: list[str], json: str | None) -> None:
    """Print the catalogue, or the entries asked for."""
    entries = catalogue_entries(ids)
    if json is not None:
        write_json(Session("invariants").report(Verdict.HELD, InvariantsResult(invariants=entries)), json)
        if json == "-":
            return
    for entry in entries:
        say(f"{entry.id} ({entry.kind}, {entry.severity}): {entry.sentence}")
        say(f"  forms: {'; '.join(entry.forms)}")
        say(f"  incidents: {', '.join(entry.incidents) or 'none on record'}")
        say(f"  must catch: {', '.join(entry.faults)}")
