"""Which position of the input each token has, and the grid that these positions form.

Positions are known from the recorded forward pass, so that class tokens, registers, windows, rolled windows and merged
patches need no rule of their own.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from convscope.errors import ConvScopeError


class NoTokenGrid(ConvScopeError, ValueError):
    """The tokens have no positions that form a grid; the message is a clause that says why."""


@dataclass(frozen=True, eq=False)
class Tokens:
    """The tokens on one side of an attention, over all windows.

    They are numbered in an order that is the same wherever tokens have the same places: first those without a place
    (class tokens, registers) in their order, then the cells of the grid row by row.

    Attributes:
        grid: the number of positions along each axis of the input; empty where no token has a place.
        unplaced: how many tokens have no place.
        index: the number of each token (windows, tokens of a window).
    """

    grid: tuple[int, ...]
    unplaced: int
    index: Tensor

    @property
    def cells(self) -> int:
        """How many tokens have a place."""
        return math.prod(self.grid) if self.grid else 0

    @property
    def count(self) -> int:
        """How many tokens there are."""
        return self.unplaced + self.cells

    def same_as(self, other: "Tokens") -> bool:
        """Whether both sides number the same tokens."""
        return (self.grid, self.unplaced) == (other.grid, other.unplaced)

    def to_map(self, numbers: Tensor) -> Tensor:
        """Numbers (…, tokens) of the tokens with a place, on their grid (…, positions …)."""
        return numbers[..., self.unplaced :].reshape(*numbers.shape[:-1], *self.grid)


def find_tokens(positions: Sequence[Tensor]) -> Tokens:
    """Number tokens by their positions.

    Args:
        positions: along each axis of the input, the position of each token (windows, tokens); negative for none.

    Raises:
        NoTokenGrid: several tokens have the same place, or places of the grid have no token.
    """
    windows, tokens = positions[0].shape
    placed = torch.stack(list(positions)).ge(0).any(0)
    unplaced = int((~placed).sum())
    if windows > 1 and unplaced:
        raise NoTokenGrid("has windows that hold tokens without a place in the input, such as padding")
    index = torch.zeros(windows, tokens, dtype=torch.long, device="cpu")
    index[~placed] = torch.arange(unplaced, device="cpu")
    if not bool(placed.any()):
        return Tokens((), unplaced, index)
    grid, cell = [], torch.zeros(int(placed.sum()), dtype=torch.long, device="cpu")
    for axis in positions:
        distinct, rank = torch.unique(axis[placed], return_inverse=True)
        grid.append(len(distinct))
        cell = cell * len(distinct) + rank
    if 1 == math.prod(grid) < len(cell):
        raise NoTokenGrid("has one place for all its tokens")
    if len(torch.unique(cell)) < len(cell):
        raise NoTokenGrid("has several tokens at the same place of the input")
    if len(cell) != math.prod(grid):
        raise NoTokenGrid("has tokens at places that form no grid")
    index[placed] = unplaced + cell
    return Tokens(tuple(grid), unplaced, index)
