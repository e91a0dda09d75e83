"""Composites: which rule applies to which affine operation, by layer name, by depth and by kind of operation."""

import fnmatch
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

from convscope.engine.rules.lrp_rules import RULES, Rule
from convscope.errors import ParameterError, did_you_mean

CompositeName = Literal[
    "epsilon-plus",
    "epsilon-plus-flat",
    "epsilon-gamma-box",
    "alpha2-beta1",
    "alpha2-beta1-flat",
    "deep-taylor",
    "epsilon",
    "zero",
]

_NAMED: Mapping[str, Mapping[str, str]] = {
    "epsilon-plus": {"conv": "z-plus", "linear": "epsilon"},
    "epsilon-plus-flat": {"conv": "z-plus", "linear": "epsilon", "first": "flat"},
    "epsilon-gamma-box": {"conv": "gamma 0.25", "linear": "epsilon", "first": "box"},
    "alpha2-beta1": {"conv": "alpha-beta 2 1", "linear": "epsilon"},
    "alpha2-beta1-flat": {"conv": "alpha-beta 2 1", "linear": "epsilon", "first": "flat"},
    "deep-taylor": {"conv": "z-plus", "linear": "z-plus", "first": "box"},
    "epsilon": {"conv": "epsilon", "linear": "epsilon"},
    "zero": {"conv": "zero", "linear": "zero"},
}
_KINDS = ("conv", "linear", "first")
_DEPTH = re.compile(r"^depth\s+(?P<from>-?\d{1,9})(\s*\.\.\s*(?P<to>-?\d{1,9}))?$")


@dataclass(frozen=True)
class OperationSite:
    """An affine operation of the network: its layer, its kind, its depth in order of execution, whether it is first."""

    address: str
    kind: str
    depth: int
    first: bool


@dataclass(frozen=True)
class Composite:
    """A table from operations to rules; the last matching entry wins: named layers before depths before kinds."""

    name: str
    kinds: Mapping[str, Rule]
    depths: tuple[tuple[int, int, Rule], ...] = ()
    layers: tuple[tuple[str, Rule], ...] = ()
    matched: set[str] = field(default_factory=set)

    def rule_at(self, site: OperationSite, depths: int) -> Rule:
        """The rule of one operation in a network of ``depths`` affine operations."""
        for pattern, rule in reversed(self.layers):
            if fnmatch.fnmatchcase(site.address, pattern) or site.address.startswith(pattern + "."):
                self.matched.add(pattern)
                return rule
        for begin, end, rule in reversed(self.depths):
            for depth in (begin, end):
                if not -depths <= depth < depths:
                    raise ParameterError(
                        f"no depth {depth} for the rules: the layers that ran have depths 0 to {depths - 1}"
                    )
            if begin % depths <= site.depth <= end % depths:
                return rule
        if site.first and "first" in self.kinds:
            return self.kinds["first"]
        return self.kinds[site.kind]

    def refuse_unmatched(self, known: Sequence[str]) -> None:
        """Raise an error for layer names that matched no affine operation of the finished run.

        Raises:
            ParameterError: a name matched no convolution or linear layer.
        """
        for pattern, _ in self.layers:
            if pattern not in self.matched:
                suggestion = did_you_mean(pattern, known)
                raise ParameterError(f"no convolution or linear layer matches {pattern!r} of the rules{suggestion}")


def composite_of(name: str, rules: str = "", epsilon: float = 0.0) -> Composite:
    """A named composite with some of its rules replaced.

    Args:
        epsilon: the strength of its ε rules.
        rules: ``place: rule`` separated by commas; a place is ``conv``, ``linear``, ``first``, ``depth 0``,
            ``depth 0..3``, ``depth -1`` or a layer's address, which may contain ``*``; a rule is one of `RULES` with
            its numbers.
    """
    kinds = {
        kind: parse_rule(f"epsilon {epsilon}" if text == "epsilon" else text) for kind, text in _NAMED[name].items()
    }
    depths: list[tuple[int, int, Rule]] = []
    layers: list[tuple[str, Rule]] = []
    for entry in filter(None, (part.strip() for part in re.split(r"[,;\n]", rules))):
        place, colon, text = (part.strip() for part in entry.rpartition(":"))
        if not colon or not place or not text:
            raise ParameterError(
                f"rules must be written as 'place: rule' separated by commas, got {entry!r} (as in 'layer4: gamma 0.1')"
            )
        rule = parse_rule(text)
        if match := _DEPTH.match(place):
            begin = int(match["from"])
            depths.append((begin, int(match["to"]) if match["to"] else begin, rule))
        elif place in _KINDS:
            kinds[place] = rule
        else:
            layers.append((place, rule))
    return Composite(name, kinds, tuple(depths), tuple(layers))


def parse_rule(text: str) -> Rule:
    """``gamma 0.25`` as a `Rule`."""
    name, *numbers = text.split()
    if name not in RULES:
        raise ParameterError(f"no rule {name!r}{did_you_mean(name, RULES)} (there are {', '.join(RULES)})")
    try:
        strengths = [float(n) for n in numbers]
        if not all(0 <= n < math.inf for n in strengths):
            raise ValueError("strengths must be finite and not negative")
        return RULES[name](*strengths)
    except (TypeError, ValueError):
        raise ParameterError(
            f"the rule {name!r} does not take {' '.join(numbers)!r}: write it as in 'gamma 0.25'"
        ) from None
