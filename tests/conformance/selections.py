"""The lenses of the catalogue by what they declare, and the parametrizations over them.

A new lens joins by being declared. Nothing here knows a method; where a lens takes a target, a layer or a seed, its
declaration says so.
"""

from collections.abc import Iterable
from typing import Any

import pytest

import convscope as cs
from convscope.spec import LensSpec

LENSES = [spec for spec in cs.lenses() if "model" in spec.inputs]
MAPS = [spec for spec in LENSES if spec.gives_map]
TARGETED_MAPS = [spec for spec in MAPS if spec.takes_target]
EACH_IMAGE = [spec for spec in LENSES if spec.each_image]
RUNNING = [spec for spec in LENSES if spec.name != "kernels"]
"""Those that run the network: kernels are read off it."""
WRAPPED = [spec for spec in RUNNING if spec.name != "structure"]
"""Those that give the same for a network within another: the structure is another then, and needs one input only."""


def command_of(spec: LensSpec) -> str:
    """The name of a lens in the ids of tests."""
    return spec.command


def for_each(lenses: list[LensSpec]) -> pytest.MarkDecorator:
    """Run a test with each of these lenses as ``spec``."""
    return pytest.mark.parametrize("spec", lenses, ids=command_of)


for_every_lens = for_each(LENSES)
for_every_map = for_each(MAPS)


def for_each_in_turn(lenses: list[LensSpec], name: str, settings: Iterable[Any]) -> pytest.MarkDecorator:
    """Run a test with each of these lenses and one of the settings, so that each setting meets many lenses.

    What the test holds is done by what stands around all lenses; all combinations run by hand.
    """
    every = list(settings)
    cases = [
        pytest.param(
            spec,
            setting,
            id=f"{setting}-{command_of(spec)}",
            marks=() if number % len(every) == place else pytest.mark.by_hand,
        )
        for number, spec in enumerate(lenses)
        for place, setting in enumerate(every)
    ]
    return pytest.mark.parametrize(("spec", name), cases)


def choose_noise(spec: LensSpec) -> dict[str, Any]:
    """The choices with which a lens draws at random, where it would not by default."""
    noise = {name: "noise" for name, parameter in spec.parameters.items() if "noise" in parameter.about.choices}
    return noise if "seed" in spec.parameters else {}
