"""The lines under "Reproduce this" compute the value again, for every lens: as Python and as a command."""

import functools
import shlex
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner

import convscope as cs
from convscope import cli
from convscope.reporting.reproduce import recipe, request_of
from convscope.spec import LensSpec
from convscope.values import Value
from tests.gated_network import GATED

FEW: dict[str, int] = {"samples": 2, "steps": 2}
"""So many repetitions are enough to see whether two calls give the same."""

OWN: dict[str, dict[str, Any]] = {
    "kernel-shap": {"samples": 60},
    "lime": {"samples": 30},
    "partition-shap": {"samples": 20},
    "rise": {"samples": 16},
    "hsic": {"samples": 16},
    "top-inputs": {"k": 2, "show": 2},
}
MODEL, IMAGE, STYLE, UNIT = "bundled:digits", "sample:digits/3", "sample:digits/5", "features[2]"
DATA = ["sample:digits/3", "sample:digits/5"]
ATTENDING, PAIRS = "bundled:pairs", ["sample:pairs/1", "sample:pairs/2"]


def arguments(spec: LensSpec) -> dict[str, Any]:
    """What a lens is called with here."""
    given: dict[str, Any] = {name: FEW[name] for name in FEW if name in spec.parameters}
    given |= OWN.get(spec.command, {})
    needed = {"image": IMAGE, "images": DATA, "guide": STYLE, "style": STYLE, "unit": UNIT}
    if "attention" in spec.needs:
        needed |= {"image": PAIRS[0], "images": PAIRS}
    return given | {name: needed[name] for name in spec.required if name in needed}


@functools.cache
def opened(address: str = MODEL) -> cs.Model:
    """The network, opened once for the values that are to be computed anew; the lines open their own."""
    return cs.load(address)


def value_of(spec: LensSpec, **more: Any) -> Value:
    address = ATTENDING if "attention" in spec.needs else GATED if "gates" in spec.needs else MODEL
    network = {"model": opened(address)} if "model" in spec.inputs else {}
    value: Value = getattr(cs, spec.name)(**network, **arguments(spec), **more)
    return value


def same(first: Value, second: Value) -> None:
    assert type(first) is type(second)
    for name in first.arrays:
        a, b = getattr(first, name), getattr(second, name)
        for x, y in zip(*(v.values() if isinstance(v, dict) else [v] for v in (a, b)), strict=True):
            if x is not None or y is not None:
                np.testing.assert_array_equal(np.asarray(x), np.asarray(y), err_msg=name)


def by_python(value: Value) -> Value:
    lines = recipe(value.record)
    names: dict[str, Any] = {}
    exec(f"{lines.opening}\nagain = {lines.call}", names)
    recomputed: Value = names["again"]
    return recomputed


def by_command(value: Value, folder: Path) -> Value:
    shell = recipe(value.record).shell
    assert shell, f"{value.record.lens} has no command: {value.record.parameters}"
    _, *words = shlex.split(shell)
    done = CliRunner().invoke(cli.app(words), [*words, "--out", str(folder / "again.npz")])
    assert done.exit_code == 0, f"{shell}\n{done.output}"
    return type(value).load(folder / "again.npz")


@pytest.mark.parametrize("spec", cs.lenses(), ids=lambda spec: spec.command)
def test_every_value_can_be_computed_again(spec: LensSpec, tmp_path: Path) -> None:
    value = value_of(spec)
    same(value, by_python(value))
    same(value, by_command(value, tmp_path))


AVERAGED = [spec for spec in cs.lenses() if spec.can_average and spec.command in ("saliency", "grad-cam", "lrp")]


@pytest.mark.parametrize("smooth", [3, cs.Smooth(3, augment="views", seed=2)], ids=["noise", "views"])
@pytest.mark.parametrize("spec", AVERAGED, ids=lambda spec: spec.command)
def test_an_average_can_be_computed_again(spec: LensSpec, smooth: Any, tmp_path: Path) -> None:
    value = value_of(spec, smooth=smooth, target=4)
    same(value, by_python(value))
    if smooth == 3:
        same(value, by_command(value, tmp_path))
    else:
        assert recipe(value.record).shell == "", "the command line has no views"


def test_a_data_set_is_named_as_it_was_passed(tmp_path: Path) -> None:
    model = cs.load(MODEL)
    value = cs.activations(model, "sample:digits/0-4")
    assert "'sample:digits/0-4'" in recipe(value.record).call
    same(value, by_command(value, tmp_path))


def test_a_data_set_in_memory_is_named_as_one() -> None:
    model = cs.load(MODEL)
    images = model.prepare(DATA).tensor
    lines = recipe(cs.activations(model, images).record)
    assert lines.call.startswith("cs.activations(model, images")
    assert lines.shell == ""


def test_a_request_travels_between_processes() -> None:
    import pickle

    record = cs.saliency(cs.load(MODEL), IMAGE, target=4).record
    request = request_of(record)
    assert pickle.loads(pickle.dumps(request)) == request
    assert request_of(replace(record, parameters={**record.parameters, "target": 5})) != request
