"""What ConvScope is known to be wrong on today: put aside by the fuzzer, and to be empty.

An entry goes as soon as what it names is mended; the seeds that showed it then keep it mended.
"""

from dataclasses import dataclass

from tests.fuzz.networks import Network


@dataclass(frozen=True)
class Awaited:
    """Differences that are put aside.

    Attributes:
        kinds: on networks that have one of these; every network where there are none.
        checks: in these checks; in all of them where there are none.
        said: differences that say this.
        modules: on networks whose description has one of these.
    """

    why: str
    kinds: frozenset[str] = frozenset()
    checks: frozenset[str] = frozenset()
    said: str = ""
    modules: frozenset[str] = frozenset()

    def fits(self, check: str, network: Network, said: str) -> bool:
        """Whether this difference is one of these."""
        return (
            (not self.kinds or bool(self.kinds & network.kinds))
            and (not self.checks or check in self.checks)
            and self.said in said
            and (not self.modules or any(module in str(network.module) for module in self.modules))
        )


_AT_LAYERS = frozenset(
    ("maps", "maps by scores", "activations", "inputs", "default layer", "fields", "independence", "steps")
)
_RULES = frozenset(("relevance", "references", "modified gradients", "spellings", "independence"))
_COMPOSED = frozenset(("Spelled(where", "masked_fill_", "Spelled(x *", "Spelled(maximum", "Spelled(gelu by erf"))

AWAITED: list[Awaited] = [
    Awaited(
        "axes are guessed from proportions",
        frozenset(("tokens", "linear patches", "channels last", "recurrent", "convnext")),
        _AT_LAYERS,
    ),
    Awaited("frames in the batch are taken for images", frozenset(("folded",))),
    Awaited("the copy in channels-last is taken for the network", said="view size is not compatible"),
    Awaited("rules for these are missing", checks=_RULES, said="has no rule"),
    Awaited("activations of several operations are not seen", checks=_RULES, modules=_COMPOSED),
    Awaited(
        "rules norm by the image what is normed by statistics",
        checks=_RULES,
        modules=frozenset(("affine=False, bias=False, track_running_stats=True",)),
    ),
    Awaited("boxes behind up-sampling are too small", frozenset(("upsampled", "hourglass")), frozenset(("fields",))),
]
