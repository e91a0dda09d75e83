"""Several attributions side by side."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from convscope.errors import CannotWrite
from convscope.values.attribution import Attribution
from convscope.values.base import Value, plain

if TYPE_CHECKING:
    from torch import Tensor

_measures: Callable[[], Any] | None = None


def measured_by(measures: Callable[[], Any]) -> None:
    """Tell the values who measures how alike they are: a function that gives the module with those measures."""
    global _measures
    _measures = measures


@dataclass(frozen=True, kw_only=True, eq=False)
class Comparison(Value):
    """Several values side by side: one row an image; one column a lens, a target or a model.

    Attributes:
        rows: the attributions, all rows of the same length.
        titles: what the columns are called; by default their lenses.
        scales: columns with the same number here share one colour scale; by default each has its own.
    """

    rows: tuple[tuple[Attribution, ...], ...]
    titles: tuple[str, ...] = ()
    scales: tuple[int, ...] = ()
    arrays: ClassVar[tuple[str, ...]] = ()

    @cached_property
    def rank_similarity(self) -> Tensor | None:
        """Spearman's rank correlation between columns (K, K), the mean over rows; none of a single column."""
        return self._measured("rank_similarity", self.rows)

    @cached_property
    def structural_similarity(self) -> Tensor | None:
        """The structural similarity index (SSIM) between columns (K, K), the mean over rows."""
        return self._measured("structural_similarity", self.rows)

    @cached_property
    def agreement(self) -> tuple[Tensor, ...]:
        """Per row, for each place the share of columns that have it among the strongest fifth that speak for."""
        maps = [self._measured("agreement", row) for row in self.rows]
        return tuple(one for one in maps if one is not None)

    def _measured(self, measure: str, of: Any) -> Tensor | None:
        """One measure of how alike the columns are, taken only when it is asked for."""
        assert _measures is not None, "the package root names who measures"
        found: Tensor | None = getattr(_measures(), measure)(of) if len(self.rows[0]) > 1 else None
        return found

    def manifest(self) -> dict[str, Any]:
        """The manifests of all cells, row by row, and how alike the columns are."""
        alike = {
            name: None if matrix is None else plain(matrix.tolist())
            for name, matrix in (
                ("rank similarity", self.rank_similarity),
                ("structural similarity", self.structural_similarity),
            )
        }
        cells = [[cell.manifest() for cell in row] for row in self.rows]
        titles = list(self.titles) or [cell.record.title for cell in self.rows[0]]
        return {"kind": "Comparison", "columns": titles, **alike, "rows": cells, "record": plain(asdict(self.record))}

    @classmethod
    def writer(cls, path: Path) -> Callable[..., None]:
        """What writes a comparison to a file of that name; its numbers are those of its attributions."""
        if path.suffix.lower() == ".npz":
            raise CannotWrite("a comparison has no numbers of its own: save its attributions, or use .png or .json")
        return super().writer(path)

    def __iter__(self) -> Any:
        return (cell for row in self.rows for cell in row)
