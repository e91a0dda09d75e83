"""A logarithmic histogram of signed numbers that needs only one pass over the data.

The magnitude of a layer's activations is not known beforehand, and quantiles are wanted after one pass. The bin of a
float follows from its bits: sign, exponent and the first bits of the mantissa. Each octave (doubling of magnitude) is
divided into ``2**bits`` equal bins, so that the relative error of a number is at most ``2**-bits``; the grid covers a
fixed number of octaves below a top that is set by the first chunk of data. Smaller magnitudes fall into the innermost
bin of their sign, larger ones into the outermost; exact zeros have their own bin.
"""

import math
from dataclasses import dataclass

import torch
from torch import Tensor

_MANTISSA_BITS, _EXPONENT_BIAS = 23, 127


@dataclass(frozen=True)
class LogGrid:
    """Bins for magnitudes from 2^(top - octaves) to 2^top of either sign.

    Args:
        top: the grid covers magnitudes up to 2^top.
        octaves: the number of doublings that are covered.
        bits: each octave has 2^bits bins.
    """

    top: int
    octaves: int = 12
    bits: int = 3

    @classmethod
    def reaching(cls, largest: float, *, octaves: int, bits: int) -> "LogGrid":
        """A grid that covers at least twice ``largest``."""
        top = math.frexp(largest)[1] + 1 if largest > 0 and math.isfinite(largest) else 1
        return cls(min(max(top, octaves - 120), 127), octaves, bits)

    @property
    def side(self) -> int:
        """The number of bins of one sign."""
        return self.octaves << self.bits

    @property
    def size(self) -> int:
        """The number of all bins: negative from the outermost inwards, zero, positive outwards."""
        return 2 * self.side + 1

    def bin_indices(self, values: Tensor) -> Tensor:
        """The index of the bin of every number, int32."""
        values = values.float().contiguous()
        index = values.view(torch.int32).bitwise_and(0x7FFFFFFF).bitwise_right_shift_(_MANTISSA_BITS - self.bits)
        index = index.sub_(((self.top - self.octaves + _EXPONENT_BIAS) << self.bits) - 1).clamp_(1, self.side)
        return index.mul_(values.sign().int()).add_(self.side)

    def edges(self) -> Tensor:
        """The edges of the bins (size + 1), float64; both edges of the zero bin are zero."""
        indices = torch.arange(self.side + 1, dtype=torch.float64, device="cpu")
        octave, within_octave = indices.div(1 << self.bits, rounding_mode="floor"), indices.remainder(1 << self.bits)
        positive = torch.exp2(self.top - self.octaves + octave) * (1 + within_octave / (1 << self.bits))
        positive[0] = 0.0  # smaller magnitudes are in the innermost bin
        return torch.cat([-positive.flip(0), positive])

    def quantiles(self, counts: Tensor, shares: Tensor, low: Tensor, high: Tensor) -> Tensor:
        """The quantiles at ``shares`` of the counted numbers, interpolated linearly within a bin.

        Args:
            counts: (…, size); in the result, the shares (S,) replace the last dimension.
            shares: the levels of the quantiles, 0 … 1.
            low, high: (…), the smallest and the largest number.
        """
        counts = counts.double()
        cumulative = counts.cumsum(-1)
        levels = shares.to(counts) * cumulative[..., -1:]
        index = torch.searchsorted(cumulative, levels.contiguous()).clamp_max(self.size - 1)
        in_bin = counts.gather(-1, index)
        below = cumulative.gather(-1, index) - in_bin
        fraction = ((levels - below) / in_bin.clamp_min(1e-12)).clamp(0, 1)
        edges = self.edges().to(counts)
        lower = torch.maximum(edges[index], low[..., None].to(counts))
        upper = torch.minimum(edges[index + 1], high[..., None].to(counts))
        lower, upper = torch.minimum(lower, upper), torch.maximum(lower, upper)
        return (lower + fraction * (upper - lower)).clamp(low[..., None].to(counts), high[..., None].to(counts))
