"""A histogram that needs no second look: bins whose width is a fixed share of the number, signed, zero apart.

Nobody knows beforehand how large a layer's numbers are, and quantiles are wanted after one pass. The bins are read off
the bits of a float: sign, exponent and the first bits of the mantissa. Each doubling of magnitude is cut into
``per_octave`` equal bins, so that a number is known to one part in ``per_octave``; the grid covers a fixed number of
doublings below a top that the first chunk of data sets. Smaller magnitudes fall into the innermost bin of their sign,
larger ones into the outermost; exact zeros have a bin of their own.
"""

import math
from dataclasses import dataclass

import torch
from torch import Tensor

_MANTISSA, _BIAS = 23, 127


@dataclass(frozen=True)
class LogGrid:
    """Bins for magnitudes from 2^(top - octaves) to 2^top of either sign.

    Args:
        top: the exponent of the largest magnitude that has a bin of its own width.
        octaves: how many doublings are covered.
        bits: a doubling has 2^bits bins.
    """

    top: int
    octaves: int = 12
    bits: int = 3

    @classmethod
    def reaching(cls, largest: float, *, octaves: int, bits: int) -> "LogGrid":
        """A grid with room for twice ``largest`` and more."""
        top = math.frexp(largest)[1] + 1 if largest > 0 and math.isfinite(largest) else 1
        return cls(min(max(top, octaves - 120), 127), octaves, bits)

    @property
    def side(self) -> int:
        """The bins of one sign."""
        return self.octaves << self.bits

    @property
    def size(self) -> int:
        """All bins: negative ones from the outermost in, zero, positive ones out."""
        return 2 * self.side + 1

    def places(self, values: Tensor) -> Tensor:
        """The bin of every number, int32."""
        values = values.float().contiguous()
        step = values.view(torch.int32).bitwise_and(0x7FFFFFFF).bitwise_right_shift_(_MANTISSA - self.bits)
        step = step.sub_(((self.top - self.octaves + _BIAS) << self.bits) - 1).clamp_(1, self.side)
        return step.mul_(values.sign().int()).add_(self.side)

    def edges(self) -> Tensor:
        """The ends of the bins (size + 1), float64; the zero bin has no width: its ends are both zero."""
        steps = torch.arange(self.side + 1, dtype=torch.float64, device="cpu")
        octave, within = steps.div(1 << self.bits, rounding_mode="floor"), steps.remainder(1 << self.bits)
        ends = torch.exp2(self.top - self.octaves + octave) * (1 + within / (1 << self.bits))
        ends[0] = 0.0  # whatever is smaller is in the innermost bin
        return torch.cat([-ends.flip(0), ends])

    def quantiles(self, counts: Tensor, shares: Tensor, low: Tensor, high: Tensor) -> Tensor:
        """The numbers below which those shares of the counted lie, straight lines assumed within a bin.

        Args:
            counts: (…, size); the result has the shares (S,) in its place.
            low, high: (…), the smallest and the largest number there was.
        """
        counts = counts.double()
        summed = counts.cumsum(-1)
        wanted = shares.to(counts) * summed[..., -1:]
        place = torch.searchsorted(summed, wanted.contiguous()).clamp_max(self.size - 1)
        inside = counts.gather(-1, place)
        before = summed.gather(-1, place) - inside
        part = ((wanted - before) / inside.clamp_min(1e-12)).clamp(0, 1)
        edges = self.edges().to(counts)
        lower = torch.maximum(edges[place], low[..., None].to(counts))
        upper = torch.minimum(edges[place + 1], high[..., None].to(counts))
        lower, upper = torch.minimum(lower, upper), torch.maximum(lower, upper)
        return (lower + part * (upper - lower)).clamp(low[..., None].to(counts), high[..., None].to(counts))
