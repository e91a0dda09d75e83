"""Trained networks of several tools give what ONNX Runtime gives, and lenses explain them."""

import copy
from pathlib import Path

import numpy as np
import pytest
import torch

import convscope as cs
from convscope.errors import LoadError

pytest.importorskip("onnx", reason="onnx is not installed")
pytest.importorskip("onnxruntime", reason="ONNX Runtime is not installed")

FILES = {
    "loaders/ImageClassifier_cifar10.onnx": "",
    "loaders/SqueezeNet_fp16.onnx": "",
    "loaders/mnist-8.onnx": "",
    "loaders/version-RFB-320.onnx": "?output=scores",
    "trained/basic_pitch.onnx": "?output=1",
    "trained/centerface.onnx": "?output=537",
    "trained/silero_vad_16k_op15.onnx": "?shape=576&fixed=state:0;sr:16000&output=output",
}


@pytest.mark.parametrize("name", FILES)
def test_trained_networks_agree_with_onnx_runtime(assets: Path, name: str) -> None:
    model = cs.load(f"{assets / name}{FILES[name]}")
    assert model.conversion is not None
    assert model.conversion.difference < 1e-4
    if "silero" not in name:  # its input is a vector, whose lenses need an input
        assert model.run(model.example()).isfinite().all()


def test_a_segmentation_network_agrees_on_a_photograph_and_with_double_precision(assets: Path) -> None:
    """On random numbers its output is so small that ONNX Runtime differs by 1.0e-4 from double precision."""
    import onnxruntime

    path = assets / "trained/ppocr_det_small.onnx"
    model = cs.load(path)
    session = onnxruntime.InferenceSession(path)
    image = model.prepare(assets / "photos/test_data__parrot.jpg").tensor
    expected = session.run(None, {"x": image.numpy()})[0]
    actual = model.run(image).detach().numpy()
    assert abs(actual - expected).max() < 1e-4 * abs(expected).max()
    noise = model.example()
    exact = copy.deepcopy(model.module).double()(noise.double()).detach().numpy()
    ours, theirs = model.run(noise).detach().numpy(), session.run(None, {"x": noise.numpy()})[0]
    assert exact.dtype == np.float64
    assert abs(ours - exact).max() < 1e-5 * abs(exact).max()
    assert abs(ours - exact).max() < abs(theirs - exact).max()


def test_a_file_from_before_operators_had_versions_is_refused(assets: Path) -> None:
    with pytest.raises(LoadError, match="is of IR version 1 and does not say which version of the operators"):
        cs.load(assets / "loaders/super_resolution.onnx")


def test_a_voice_detector_with_branches_and_a_recurrent_layer_is_explained(assets: Path) -> None:
    name = "trained/silero_vad_16k_op15.onnx"
    model = cs.load(f"{assets / name}{FILES[name]}")
    assert any(isinstance(module, torch.nn.LSTM) for module in model.module.modules())
    sound = torch.sin(torch.arange(576) * 0.1)[None]
    attribution = cs.gradient_x_input(model, sound, target=0)
    assert np.asarray(attribution.values).any()


def test_a_digit_is_recognized_and_explained(assets: Path) -> None:
    model = cs.load(f"{assets / 'loaders/mnist-8.onnx'}?size=28&mean=0&std=0.00392156862745098")
    assert cs.predict(model, "sample:digits/3").indices[0] in range(10)
    assert cs.grad_cam(model, "sample:digits/3").values.shape == (28, 28)
