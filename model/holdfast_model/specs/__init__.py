"""The specs that ship with Holdfast, and the registry that finds them by name."""

from holdfast_model.specs.planted import PlantedBug
from holdfast_model.specs.registry import (
    FORMULA_SLICES,
    ModelEntry,
    ModelParameter,
    goal_models,
    list_models,
    load_model,
)

__all__ = [
    "FORMULA_SLICES",
    "ModelEntry",
    "ModelParameter",
    "PlantedBug",
    "goal_models",
    "list_models",
    "load_model",
]
