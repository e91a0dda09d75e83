"""The network and the settings that the tests of optimization share."""

import torch

import convscope as cs
from convscope.engine.optimize import objectives as goals
from convscope.engine.optimize import parametrizations
from convscope.engine.optimize.loop import AscentResult, maximize_all
from convscope.engine.optimize.picture_space import picture_space_of


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def optimize(
    model: cs.Model, objective: goals.Objective | list[goals.Objective], name: str = "pixels", **options
) -> AscentResult:
    objectives = objective if isinstance(objective, list) else [objective]
    parametrization = parametrizations.BY_NAME[name](picture_space_of(model))
    with model.preserve_state():
        return maximize_all(model, objectives, parametrization, **{"steps": 12, **options})
