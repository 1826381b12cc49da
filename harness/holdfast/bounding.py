"""A bounded search after a proof: whether what induction could not prove is broken from the first state on."""

from msgspec import structs

from holdfast.console import say, say_steps, telling
from holdfast_model.checkers.bound import bound_open
from holdfast_model.evidence import BoundedOutcome, Proof, Verdict, worst
from holdfast_model.spec import Model
from holdfast_model.traces import narrated


def bounded(model: Model, proof: Proof, *, steps_max: int) -> Proof:
    """The proof with what a bounded search says about all that it left open, which is printed."""
    with telling() as progress:
        found = bound_open(
            model,
            proof,
            steps_max=steps_max,
            progress=lambda steps, left: progress(f"bounded search: {steps} steps, {left} properties"),
        )
    if found is None:
        say("  bounded search: nothing is left open")
        return proof
    for item in found.properties:
        steps = f"{item.steps} steps"
        match item.outcome:
            case BoundedOutcome.REFUTED:
                say(f"{item.invariant} ({item.property}) is violated in {steps} from the first state:")
                say_steps(narrated(item.trace))
            case BoundedOutcome.UNKNOWN:
                say(f"unknown: {item.invariant} ({item.property}) after {steps}: {item.reason}")
            case _:
                say(f"{item.invariant} ({item.property}): no sequence of up to {steps} breaks it")
    assumed = ", ".join(found.assumed) or "nothing"
    say(f"  bounded search: sequences of up to {found.steps} steps, assuming of each state: {assumed}")
    if found.exhausted:
        say("  no sequence has that many steps: all there are were looked at")
    verdict = worst([proof.verdict, found.verdict]) if found.verdict is Verdict.VIOLATED else proof.verdict
    return structs.replace(proof, bounded=found, verdict=verdict)
