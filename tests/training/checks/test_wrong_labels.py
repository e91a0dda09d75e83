"""The closed form of leaving one image out, against fitting without it."""

import torch
from torch import Tensor

from convscope.training.checks.wrong_labels import out_of_sample_scores


def test_scores_are_those_of_a_ridge_regression_without_the_image() -> None:
    torch.manual_seed(0)
    features, classes = torch.rand(14, 4, dtype=torch.float64), torch.arange(14) % 3
    indicators = torch.nn.functional.one_hot(classes, 3).double()
    centred = features - features.mean(0)
    scaled = centred / centred.std() / 2  # 2 is the root of the number of features
    penalty = 0.1 * scaled.square().sum(1).mean()
    expected = torch.stack([left_out(scaled, indicators, penalty, row) for row in range(14)])
    assert torch.allclose(out_of_sample_scores(features, classes, 3), expected, atol=1e-9)


def left_out(features: Tensor, indicators: Tensor, penalty: Tensor, row: int) -> Tensor:
    """What a fit of all other rows, with an intercept that costs nothing, gives for one row."""
    kept = torch.arange(len(features)) != row
    design = torch.cat([features, torch.ones(len(features), 1, dtype=torch.float64)], 1)
    cost = torch.diag(torch.tensor([1.0] * features.shape[1] + [0.0], dtype=torch.float64)) * penalty
    weights = torch.linalg.solve(design[kept].T @ design[kept] + cost, design[kept].T @ indicators[kept])
    return design[row] @ weights
