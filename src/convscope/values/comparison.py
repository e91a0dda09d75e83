"""Several attributions side by side, with measures of their similarity."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from convscope.errors import CannotWrite
from convscope.values.attribution import Attribution
from convscope.values.backends import get_similarity_measures
from convscope.values.base import Value, to_plain_data

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True, kw_only=True, eq=False)
class Comparison(Value):
    """A table of attributions: one row per image; one column per lens, target or model.

    Attributes:
        rows: the attributions; all rows have the same length.
        titles: the titles of the columns; by default the names of their lenses.
        scales: one number per column; columns with the same number share a color scale. By default each has its own.
    """

    rows: tuple[tuple[Attribution, ...], ...]
    titles: tuple[str, ...] = ()
    scales: tuple[int, ...] = ()
    arrays: ClassVar[tuple[str, ...]] = ()

    @cached_property
    def rank_similarity(self) -> Tensor | None:
        """Spearman's rank correlation between columns (K, K), the mean over rows; None for a single column."""
        return get_similarity_measures().rank_similarity(self.rows) if self._has_several_columns else None

    @cached_property
    def structural_similarity(self) -> Tensor | None:
        """The structural similarity index (SSIM) between columns (K, K), the mean over rows; None for one column."""
        return get_similarity_measures().structural_similarity(self.rows) if self._has_several_columns else None

    @cached_property
    def agreement(self) -> tuple[Tensor, ...]:
        """Per row, for each position the share of columns in which it is among the strongest positive fifth."""
        if not self._has_several_columns:
            return ()
        return tuple(get_similarity_measures().agreement(row) for row in self.rows)

    @property
    def _has_several_columns(self) -> bool:
        return len(self.rows[0]) > 1

    def manifest(self) -> dict[str, Any]:
        """The manifests of all cells, row by row, and the similarities between the columns."""
        similarities = {
            name: None if matrix is None else to_plain_data(matrix.tolist())
            for name, matrix in (
                ("rank similarity", self.rank_similarity),
                ("structural similarity", self.structural_similarity),
            )
        }
        cells = [[cell.manifest() for cell in row] for row in self.rows]
        titles = list(self.titles) or [cell.record.title for cell in self.rows[0]]
        record = to_plain_data(asdict(self.record))
        return {"kind": "Comparison", "columns": titles, **similarities, "rows": cells, "record": record}

    @classmethod
    def writer(cls, path: Path) -> Callable[..., None]:
        """The function that writes a comparison as this file type, except .npz: it has no arrays of its own."""
        if path.suffix.lower() == ".npz":
            raise CannotWrite("a comparison has no numbers of its own: save its attributions, or use .png or .json")
        return super().writer(path)

    def __repr__(self) -> str:
        columns = self.titles or tuple(cell.record.title for cell in self.rows[0])
        count = "1 input" if len(self.rows) == 1 else f"{len(self.rows)} inputs"
        return f"Comparison({count}: {', '.join(columns)})"

    def __iter__(self) -> Any:
        return (cell for row in self.rows for cell in row)
