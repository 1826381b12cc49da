"""Proofs of formulas wherever the exchange has them: in a few slices that have all of them together.

The whole exchange as one model has each of its formulas many times over, under actions that it does not concern. Each
slice is a model of its own, and its proof one that holds for that slice; the slices are proved side by side by
processes, each of them as it would be alone, so that the evidence does not depend on how many there are.
"""

import multiprocessing
import os
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from pathlib import Path

from msgspec import structs

from holdfast_model.checkers.prove import prove
from holdfast_model.evidence import Bound, Proof, SecondOpinion, Verdict, worst
from holdfast_model.specs import FORMULA_SLICES, load_model

Progress = Callable[[int, int, str], None]
"""Called after each slice with (slices done, slices in all, the slice's name)."""


def slices_with(invariants: Sequence[str]) -> list[str]:
    """The slices to prove these invariants in: each that has a formula for one of them, all where none is named.

    An invariant that no slice has a formula for goes with the first one, whose proof reports it.
    """
    wanted = set(invariants)
    has = {name: set(load_model(name).invariants) for name in FORMULA_SLICES}
    chosen = [name for name in FORMULA_SLICES if not wanted or has[name] & wanted]
    return chosen or [FORMULA_SLICES[0]]


def prove_formulas(
    invariants: Sequence[str] = (),
    *,
    sizes: dict[str, int] | None = None,
    any_number_of: str = "",
    second_opinion: bool = False,
    export: Path | None = None,
    progress: Progress | None = None,
) -> Proof:
    """The obligations that show these invariants (all that the exchange has formulas for, if none is named).

    `sizes` are parameters of the exchange by name, such as accounts and orders, for every slice. With `export` each
    slice's queries are written to a folder of its own.
    """
    names = slices_with(invariants)
    unknown = set(invariants).difference(*(load_model(name).invariants for name in names))
    calls = [
        (
            ",".join([name, *(f"{key}={value}" for key, value in (sizes or {}).items())]),
            tuple(i for i in invariants if i in load_model(name).invariants or (not place and i in unknown)),
            any_number_of,
            second_opinion,
            _folder(export, name) if len(names) > 1 else export,
        )
        for place, name in enumerate(names)
    ]
    workers = min(len(calls), os.cpu_count() or 1)
    if workers == 1:
        found = [_proof(call) for call in calls]
    else:
        # A fresh interpreter for each: solvers and the terms of one process are not shared with another.
        context = multiprocessing.get_context("spawn")
        with ProcessPoolExecutor(workers, mp_context=context) as pool:
            waiting = {pool.submit(_proof, call): call[0] for call in calls}
            for done, future in enumerate(as_completed(waiting), start=1):
                future.result()
                if progress is not None:
                    progress(done, len(calls), waiting[future])
            found = [future.result() for future in waiting]
    return found[0] if len(found) == 1 else joined(found)


def small_of(model: str) -> str:
    """The slice that a model of a proof is, at its own sizes."""
    parts = model.partition(",")[0]
    return next(name for name in FORMULA_SLICES if name.partition(",")[0] == parts)


def _folder(export: Path | None, name: str) -> Path | None:
    """Where the queries of a slice go."""
    return None if export is None else export / name.partition("slice=")[2].partition(",")[0].replace("+", "-")


def _proof(call: tuple[str, tuple[str, ...], str, bool, Path | None]) -> Proof:
    name, invariants, any_number_of, second_opinion, export = call
    return prove(
        load_model(name), invariants, any_number_of=any_number_of, second_opinion=second_opinion, export=export
    )


def joined(proofs: Sequence[Proof]) -> Proof:
    """Several proofs as one: it holds if all do, and each obligation names its model."""
    shared = [bound for bound in proofs[0].bounds if all(bound in proof.bounds for proof in proofs)]
    own = [
        Bound(name=f"{bound.name} in {proof.model}", value=bound.value)
        for proof in proofs
        for bound in proof.bounds
        if bound not in shared
    ]
    opinions = [proof.second_opinion for proof in proofs if proof.second_opinion is not None]
    return Proof(
        model=", ".join(proof.model for proof in proofs),
        verdict=worst([Verdict(proof.verdict) for proof in proofs]),
        bounds=(*shared, *own),
        obligations=tuple(structs.replace(o, model=proof.model) for proof in proofs for o in proof.obligations),
        second_opinion=SecondOpinion(
            solver=opinions[0].solver,
            asked=sum(opinion.asked for opinion in opinions),
            agreed=sum(opinion.agreed for opinion in opinions),
            not_concluded=tuple(
                structs.replace(each, model=proof.model)
                for proof in proofs
                if proof.second_opinion is not None
                for each in proof.second_opinion.not_concluded
            ),
            bounds=opinions[0].bounds,
        )
        if opinions
        else None,
    )
