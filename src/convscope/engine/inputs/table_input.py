"""The input of networks that take the columns of a table: age, blood pressure, price."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor

from convscope.engine.inputs.grid import Grid, Sample
from convscope.engine.inputs.input_files import input_extensions, read_input
from convscope.engine.inputs.number_checks import finite_numbers, whole_numbers
from convscope.engine.inputs.raw_input import RawInput, as_numbers
from convscope.engine.inputs.specs import TensorInput
from convscope.errors import InputError, did_you_mean

_LONGEST_NAME = 32
"""A row of so many numbers is written out in the name of the input."""


_NUMBER = re.compile(r"\s*[-+]?(\d+\.?\d*|\.\d+)(e[-+]?\d+)?\s*", re.IGNORECASE)


@dataclass(frozen=True)
class TableInput(TensorInput):
    """The input of a network that takes one row of a table, a vector (features,).

    A row is a list of numbers in the order of ``features``, a dict ``{feature: number}``, an array, or a file
    (.csv with one row below the names of the columns, .npy).

    Args:
        features: the name of each feature, or how many there are.
        mean, std: one number, or one per feature, subtracted and divided.

    Example:
        >>> import convscope as cs
        >>> spec = cs.TableInput(features=("age", "pulse"), mean=(50, 70), std=(10, 20))
        >>> spec.prepare_array({"pulse": 90, "age": 60}).tensor.tolist()
        [1.0, 1.0]
    """

    features: Sequence[str] | int = ()
    mean: Sequence[float] | float | None = None
    std: Sequence[float] | float | None = None

    batch_ndim: ClassVar[int] = 2
    kind: ClassVar[str] = "vector"

    def __post_init__(self) -> None:
        names: tuple[str, ...] = ()
        if isinstance(self.features, int):
            (count,) = whole_numbers("features", self.features)
        elif isinstance(self.features, str) or not self.features or not all(isinstance(n, str) for n in self.features):
            raise InputError(f"features are the names of the columns, or how many there are, got {self.features!r}")
        else:
            names = tuple(self.features)
            count = len(names)
            if len(set(names)) < count:
                raise InputError(f"features must have different names, got {names!r}")
        if self.shape not in (None, (count,)):
            raise InputError(f"shape follows from features, leave it out: got {self.shape!r} for {count} features")
        for name in ("mean", "std"):
            self._check_numbers(name, count)
        object.__setattr__(self, "features", names or count)
        object.__setattr__(self, "shape", (count,))

    def _check_numbers(self, name: str, count: int) -> None:
        given = getattr(self, name)
        if given is None:
            return
        numbers = finite_numbers(name, given if isinstance(given, Sequence) else (given,))
        if len(numbers) not in (1, count):
            raise InputError(f"{name} has {len(numbers)} numbers for {count} features")
        if name == "std" and min(numbers) <= 0:
            raise InputError(f"std must be above zero, got {numbers}")
        object.__setattr__(self, name, numbers)

    @property
    def names(self) -> tuple[str, ...]:
        """The names of the features; empty if only their number is known."""
        return () if isinstance(self.features, int) else tuple(self.features)

    @property
    def grid(self) -> Grid:
        """The names of the features, as the channels of every input have them."""
        return Grid(channel_names=self.names)

    def as_inputs(self, given: Any) -> Any:
        """A row given as a list or a dict as an array, a list of rows as a list of arrays; anything else as it is."""
        if isinstance(given, Mapping):
            return self._ordered(list(given), list(given.values()))
        if isinstance(given, (list, tuple)) and given and all(isinstance(n, (int, float, np.number)) for n in given):
            return as_numbers(given, "the row")
        return [self.as_inputs(row) for row in given] if isinstance(given, (list, tuple)) else given

    def address_of(self, member: Any) -> str:
        """A row in memory as text that `open` reads, ``63,88,1.5``; empty for a long one."""
        known = isinstance(member, np.ndarray) and member.ndim == 1 and member.dtype.kind in "biuf"
        if not known or len(member) > _LONGEST_NAME:
            return ""
        # a network receives float32: the shortest text that gives the same number again
        return ",".join(str(number).removesuffix(".0") for number in member.astype(np.float32))

    def open(self, address: str | Path) -> Any:
        """Read a file of numbers, or numbers that are written out, ``63,88,1.5``, without preparing them."""
        numbers = [_NUMBER.fullmatch(part) for part in str(address).split(",")]
        is_row = all(numbers) or (len(numbers) > 1 and any(numbers) and not Path(address).exists())
        return self.row_of_text(str(address)) if is_row else read_input(address)

    def row_of_text(self, text: str) -> np.ndarray[Any, Any]:
        """The numbers of a row that is written out, ``63,88,1.5``, which is never read as the name of a file.

        Raises:
            InputError: the text holds anything else.
        """
        parts = text.split(",")
        wrong = next((part for part in parts if not _NUMBER.fullmatch(part)), None)
        if wrong is not None:
            raise InputError(f"{wrong.strip()!r} is no number: write the row as numbers with commas, 63,88,1.5")
        return as_numbers([float(part) for part in parts], "the row")

    def mean_row(self) -> tuple[float, ...]:
        """The row whose prepared numbers are all zero."""
        count = (self.shape or (0,))[0]
        mean = (0.0,) if self.mean is None else self.mean
        numbers = tuple(mean) if isinstance(mean, Sequence) else (mean,)
        return numbers * count if len(numbers) == 1 else numbers

    def file_extensions(self) -> tuple[str, ...]:
        """The endings of the files in a folder that are inputs."""
        return input_extensions()

    def prepare_array(self, array: Any) -> Sample:
        """Prepare the numbers of one row: a list or an array in the order of the features, or a dict by their names."""
        return self._prepared(as_numbers(self.as_inputs(array), "the row"), "the row")

    def prepare_raw(self, raw: RawInput) -> Sample:
        """Prepare the row in a file; columns with names are brought into the order of the features."""
        values = raw.values.reshape(len(raw.values), -1)
        if values.shape[1] == 1 and raw.channel_names and self.names:
            return self._prepared(self._ordered(raw.channel_names, values[:, 0].tolist()), raw.title)
        return self._prepared(raw.values.reshape(-1) if 1 in values.shape else raw.values, raw.title)

    def _ordered(self, names: Sequence[str], numbers: Sequence[float]) -> np.ndarray[Any, Any]:
        by_name = dict(zip(names, numbers, strict=True))
        if not self.names:
            raise InputError("the features of this table have no names: pass their numbers as a list, in order")
        for name in self.names:
            if name not in by_name:
                raise InputError(f"the row has no feature {name!r}{did_you_mean(name, by_name)}")
        for name in by_name:
            if name not in self.names:
                raise InputError(f"the table has no feature {name!r}{did_you_mean(name, self.names)}")
        return as_numbers([by_name[name] for name in self.names], "the row")

    def _prepared(self, numbers: np.ndarray[Any, Any], title: str) -> Sample:
        if numbers.shape != self.shape:
            count = len(numbers) if numbers.ndim == 1 else f"an array of shape {numbers.shape}, not a row"
            raise InputError(f"{title} has {count} numbers, and the table of this network has {self.shape[0]} features")  # type: ignore[index]
        if not np.isfinite(numbers).all():
            raise InputError(f"{title} holds NaN or infinite numbers")
        values = torch.from_numpy(np.ascontiguousarray(numbers))
        return Sample((values - self._numbers(self.mean, 0.0)) / self._numbers(self.std, 1.0), self.grid)

    def level(self, brightness: float) -> Tensor:
        """A prepared row of zeros or ones; zero stands for the mean of each feature where a mean is subtracted."""
        return torch.full(self.shape or (), float(brightness), dtype=torch.float32, device="cpu")

    def picture(self, tensor: Tensor) -> None:
        """None: a row is no picture."""

    def _numbers(self, given: Any, otherwise: float) -> Tensor:
        return torch.tensor(otherwise if given is None else given, dtype=torch.float32, device="cpu")
