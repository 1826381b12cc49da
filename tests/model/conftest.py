"""What several tests of models share: states on random walks, and generated code compared with the interpreter."""

import random
from collections.abc import Callable, Sequence

import numpy as np
import pytest

from holdfast_model.checkers.expansion import Program
from holdfast_model.checkers.packing import packing_of
from holdfast_model.spec import Model, State
from holdfast_model.spec.language import PropertyKind


def walked(model: Model, *, walks: int, steps: int, seed: int) -> list[State]:
    """States on random walks of the interpreter."""
    chance = random.Random(seed)  # noqa: S311 - a test's walk, not a secret
    instances = model.instances()
    states: dict[State, None] = {}
    for _ in range(walks):
        state = model.initial
        for _ in range(steps):
            states[state] = None
            chance.shuffle(instances)
            following = (model.step(instance, state, exploring=True) for instance in instances)
            after = next((s for s in following if s is not None and not model.outside(s)), None)
            if after is None:
                break
            state = after
    return list(states)


def compared(model: Model, states: Sequence[State], *, auxiliary: bool) -> int:
    """Compare generated guards, successors, properties and goals with the interpreter's; how many successors."""
    properties = [p for p in model.properties if auxiliary or not p.auxiliary]
    program = Program(model, properties)
    packing = packing_of(model)
    packed = [packing.pack(state) for state in states]
    assert [packing.unpack(words) for words in packed] == list(states)
    words = [np.array(column, np.uint64) for column in zip(*packed, strict=True)]
    columns, guards, formulas = program.code.check(words)
    of_states = [p for p in properties if p.kind is PropertyKind.ALWAYS]
    of_steps = [p for p in properties if p.kind is PropertyKind.STEP]
    for declared, formula in zip([*of_states, *model.goals], formulas, strict=True):
        values = [formula] * len(states) if isinstance(formula, bool) else formula.tolist()
        assert values == [model.holds(declared, state) for state in states]
    successors = 0
    for number, (instance, guard) in enumerate(zip(program.instances, guards, strict=True)):
        enabled = np.full(len(states), guard) if isinstance(guard, bool) else guard
        expected = [model.step(instance, state, exploring=True) for state in states]
        assert enabled.tolist() == [after is not None for after in expected]
        indices = np.flatnonzero(enabled)
        if not indices.size:
            continue
        after_words, left_range = program.code.steps[number](words, columns, indices)
        judge = program.step_judges[number]
        judged = [True] * len(of_steps) if judge is None else judge([word[indices] for word in words])
        for row, index in enumerate(indices.tolist()):
            after = expected[index]
            assert after is not None
            for declared, holds in zip(of_steps, judged, strict=True):
                value = holds if isinstance(holds, bool) else bool(holds[row])
                assert value == model.holds(declared, after, before=states[index])
            outside = bool(left_range is not None and left_range[row])
            assert outside == bool(model.outside(after))
            if not outside:
                assert packing.unpack(tuple(int(word[row]) for word in after_words)) == after
                successors += 1
    return successors


@pytest.fixture
def compare_on_walks() -> Callable[..., int]:
    """How many successors generated code and interpreter agree on, on random walks of a model."""

    def compare(model: Model, *, auxiliary: bool, walks: int = 2, steps: int = 40, seed: int = 20) -> int:
        return compared(model, walked(model, walks=walks, steps=steps, seed=seed), auxiliary=auxiliary)

    return compare


@pytest.fixture
def walk_of() -> Callable[..., list[State]]:
    """States on random walks of a model."""

    def walk(model: Model, *, walks: int, steps: int, seed: int = 20) -> list[State]:
        return walked(model, walks=walks, steps=steps, seed=seed)

    return walk
