"""The model: inputs of any size, channels, axes and dtype, outputs of any type, and its construction."""

import copy
import pickle
from collections import OrderedDict
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import convscope as cs
from convscope.errors import InputError, OutputError
from tests.engine.networks import (
    SIDE,
    Answer,
    Functional,
    Pair,
    Wraps,
    axes_net,
    condition,
    pictured,
    seeded,
    small_network,
    tensor,
)
from tests.narrowing import unchecked

LENSES = [cs.saliency, cs.grad_cam, cs.eigen_cam, cs.integrated_gradients, cs.smooth_grad]
by_name = pytest.mark.parametrize("lens", LENSES, ids=lambda lens: lens.__name__)


def few_steps(lens: Any) -> dict[str, int]:
    return {name: 3 for name in ("steps", "samples") if name in lens.declaration.parameters}


# Every kind of input


@by_name
@pytest.mark.parametrize("channels", [1, 2, 5])
def test_any_number_of_channels_can_be_explained(lens: Any, channels: int) -> None:
    model = pictured(channels=channels)
    attribution = lens(model, tensor(1, channels, SIDE, SIDE), **few_steps(lens))
    assert attribution.values.shape == (SIDE, SIDE)
    assert attribution.values.dtype == torch.float32
    assert attribution.values.isfinite().all()
    assert attribution.channels is None or attribution.channels.shape == (channels, SIDE, SIDE)
    assert np.asarray(attribution.photo).shape == (SIDE, SIDE, 3)


@by_name
@pytest.mark.parametrize("size", [(12, 20), (20, 12), (7, 31), (2, 2)])
def test_a_map_has_the_size_of_its_input(lens: Any, size: tuple[int, int]) -> None:
    attribution = (
        lens(cs.Model(small_network(), input=cs.ImageInput(size=size)), tensor(1, 3, *size), layer="0")
        if "layer" in lens.declaration.inputs
        else lens(cs.Model(small_network()), tensor(1, 3, *size), **few_steps(lens))
    )
    assert attribution.values.shape == size


@by_name
@pytest.mark.parametrize("extent", [(30,), (9, 14), (6, 7, 8)], ids=["signal", "image", "volume"])
def test_signals_and_volumes_are_explained_like_images(lens: Any, extent: tuple[int, ...]) -> None:
    for model in (
        cs.Model(axes_net(len(extent))),
        cs.Model(axes_net(len(extent)), input=cs.TensorInput(shape=(2, *extent))),
    ):
        single, batch = tensor(1, 2, *extent), tensor(3, 2, *extent)
        assert lens(model, single, **few_steps(lens)).values.shape == extent
        attributions = lens(model, batch, **few_steps(lens))
        assert len(attributions) == 3
        torch.testing.assert_close(attributions[1].values, lens(model, batch[1:2], **few_steps(lens)).values)


def test_a_network_without_parameters_runs_in_the_dtype_of_its_input() -> None:
    for dtype in (torch.float32, torch.float64, torch.bfloat16):
        x = tensor().to(dtype)
        attribution = cs.saliency(cs.Model(Functional()), x, target=1)
        leaf = x.clone().requires_grad_(True)
        expected = torch.autograd.grad(Functional()(leaf)[:, 1].sum(), leaf)[0]
        torch.testing.assert_close(attribution.channels, expected[0].float())
    model = cs.Model(Functional(), input=cs.ImageInput(size=SIDE))
    assert cs.saliency(model, np.full((SIDE, SIDE, 3), 99, np.uint8)).values.isfinite().all()
    assert model.device == torch.device("cpu")


@by_name
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_maps_are_float32_and_close_to_those_of_the_network_in_float32(lens: Any, dtype: torch.dtype) -> None:
    x = tensor()
    attribution, expected = (
        lens(cs.Model(small_network().to(d)), x, **few_steps(lens)) for d in (dtype, torch.float32)
    )
    assert attribution.values.dtype == torch.float32
    assert attribution.values.isfinite().all()
    both = torch.stack([attribution.values.flatten(), expected.values.flatten()])
    assert float(both.corrcoef()[0, 1]) > (0.97 if dtype != torch.float64 else 0.999999)  # ReLUs may flip
    assert all(v.dtype == torch.float32 for v in attribution.layer_values.values())


def test_scores_that_overflow_are_refused() -> None:
    """The output of a half-precision network whose activations overflow is NaN and cannot be explained."""
    net = small_network().half()
    with torch.no_grad():
        net[0].weight.mul_(1e4), net[2].weight.mul_(1e4), net[6].weight.mul_(1e4)
    assert not net(tensor().half()).isfinite().all()
    for lens in (cs.saliency, cs.grad_cam, cs.predict, cs.eigen_cam):
        with pytest.raises(OutputError, match="NaN or infinite"):
            lens(cs.Model(net), tensor())


@pytest.mark.parametrize("nothing", [(), {}, []], ids=["tuple", "dict", "list"])
def test_an_empty_output_is_refused(nothing: Any) -> None:
    class GivesNothing(nn.Conv2d):
        def forward(self, x: Tensor) -> Any:
            return nothing

    with pytest.raises(OutputError, match=r"GivesNothing gives an empty \w+: let its forward return the scores"):
        cs.predict(cs.Model(GivesNothing(3, 3, 1)), tensor())


# Every kind of output


WRAPPED: dict[str, tuple[Callable[[Tensor], Any], Any, str]] = {
    "a dict": (
        lambda t: {"logits": t, "hidden": 3},
        "logits",
        r"Wraps gives dict, not a tensor; it has the keys 'logits', 'hidden'; say which part is meant: Model\(…",
    ),
    "an ordered dict": (
        lambda t: OrderedDict(out=t, aux=t),
        "out",
        r"gives OrderedDict, not a tensor; it has the keys 'out', 'aux'",
    ),
    "a tuple": (lambda t: (t * 0, t), 1, r"gives tuple, not a tensor; it has 2 parts"),
    "a tuple, negative index": (lambda t: (t * 0, t), -1, r"gives tuple, not a tensor; it has 2 parts"),
    "a list": (lambda t: [t], 0, r"gives list, not a tensor; it has 1 parts?"),
    "a named tuple": (lambda t: Pair(t, 3), "logits", r"gives Pair, not a tensor; .*logits.*hidden"),
    "a data class": (lambda t: Answer(t, t), "logits", r"gives Answer, not a tensor; .*logits.*hidden"),
    "a nested list": (lambda t: {"a": [t, 3]}, lambda o: o["a"][0], r"it has the keys 'a'"),
}


@pytest.mark.parametrize(("wrap", "selector", "message"), WRAPPED.values(), ids=WRAPPED)
@pytest.mark.parametrize("lens", [cs.saliency, cs.grad_cam, cs.predict], ids=lambda lens: lens.__name__)
def test_an_output_that_is_not_a_tensor_needs_a_selector_and_the_error_lists_its_parts(
    lens: Any, wrap: Any, selector: Any, message: str
) -> None:
    net = seeded(lambda: Wraps(wrap))
    before = condition(net)
    with pytest.raises(OutputError, match=message) as failure:
        lens(cs.Model(net), tensor())
    assert "\n" not in str(failure.value)
    value, expected = lens(cs.Model(net, output=selector), tensor()), lens(cs.Model(net.net), tensor())
    assert condition(net) == before
    if lens is cs.predict:
        assert value.scores == expected.scores
    else:
        torch.testing.assert_close(value.values, expected.values)


@pytest.mark.parametrize(
    ("wrap", "selector", "message"),
    [
        (lambda t: {"logits": t}, "logit", r"Wraps's output has no part 'logit'; it has the keys 'logits'"),
        (lambda t: {"logits": t}, 0, r"has no part 0; it has the keys 'logits'"),
        (lambda t: (t, t), 2, r"has no part 2; it has 2 parts"),
        (lambda t: (t, t), "logits", r"has no part 'logits'; it has 2 parts"),
        (lambda t: t, "answers", r"has no part 'answers'; it is .*Tensor"),
        (lambda t: Answer(t, t), "logit", r"has no part 'logit'; .*logits"),
        (lambda t: {"a": (t,)}, "a", r"gives tuple, not a tensor"),
        (lambda t: {"a": t}, lambda o: o["b"], r"output=.* raised KeyError: 'b'"),
        (lambda t: {"a": t}, lambda o: None, r"gives NoneType, not a tensor"),
        (lambda t: None, None, r"gives NoneType, not a tensor"),
        (lambda t: t.mean(), None, r"gave an output of shape \(\) for 1 images: its first axis must be the batch"),
        (lambda t: t[0], None, r"gave an output of shape \(4,\) for 1 images: its first axis must be the batch"),
        (lambda t: t.T, None, r"gave an output of shape \(4, 1\) for 1 images"),
        (lambda t: t[:, :0], None, r"output (of|has) shape \(1, 0\)"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_an_output_or_a_selector_that_does_not_fit_is_refused_in_one_sentence(
    wrap: Any, selector: Any, message: str
) -> None:
    net = seeded(lambda: Wraps(wrap))
    before = condition(net)
    for lens in (cs.saliency, cs.grad_cam, cs.predict):
        with pytest.raises(OutputError, match=message) as failure:
            lens(cs.Model(net, output=selector), tensor())
        assert "\n" not in str(failure.value)
    assert condition(net) == before


@pytest.mark.parametrize("shape", [(-1, 4, 1, 1), (-1, 4, 1), (-1, 4)], ids=str)
def test_trailing_axes_of_size_one_are_accepted(shape: tuple[int, ...]) -> None:
    net = seeded(lambda: Wraps(lambda t: t.view(shape)))
    for lens in (cs.saliency, cs.grad_cam):
        torch.testing.assert_close(lens(cs.Model(net), tensor()).values, lens(cs.Model(net.net), tensor()).values)
    assert cs.predict(cs.Model(net), tensor()).scores == cs.predict(cs.Model(net.net), tensor()).scores


def test_confidences_are_a_softmax_unless_the_network_already_gives_one() -> None:
    net, x = small_network(), tensor()
    probabilities = net(x).softmax(1)[0]
    for model in (cs.Model(net), cs.Model(seeded(lambda: Wraps(lambda t: t.softmax(1))))):
        prediction = cs.predict(model, x)
        assert prediction.confidences == pytest.approx(probabilities.sort(descending=True).values.tolist(), abs=1e-5)
        assert prediction.indices == tuple(probabilities.argsort(descending=True).tolist())
    single = cs.predict(cs.Model(small_network(classes=1), meaning="logits"), x)
    assert single.confidences == pytest.approx(small_network(classes=1)(x).sigmoid()[0].tolist(), abs=1e-6)


# Construction


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (
            lambda: unchecked.Model("resnet50"),
            r"is built from a torch\.nn\.Module or a function, got str: cs\.load\(…\) opens a file or an address",
        ),
        (
            lambda: unchecked.Model(SimpleNamespace(predict_proba=len)),
            r"got SimpleNamespace: give a function of arrays that calls its predict_proba",
        ),
        (
            lambda: unchecked.Model(SimpleNamespace(run=len)),
            r"got SimpleNamespace: save it to a file and open that with",
        ),
        (
            lambda: unchecked.Model(nn.Linear),
            r"a model is built from a network, got the class Linear: make an instance",
        ),
        (
            lambda: unchecked.Model(small_network(), input=(224, 224)),
            r"input must be an ImageInput or a TensorInput, got tuple",
        ),
        (lambda: cs.Model(small_network(), labels="cat"), r"labels"),
        (lambda: unchecked.Model(small_network(), labels=4), r"labels"),
        (
            lambda: unchecked.saliency("torchvision:resnet50", tensor()),
            r"a model comes from cs\.load\(…\) or cs\.Model\(module, …\), got str",
        ),
        (lambda: unchecked.saliency(None, tensor()), r"a model comes from cs\.load"),
    ],
)
def test_arguments_that_make_no_model_are_refused(make: Any, message: str) -> None:
    with pytest.raises(InputError, match=message):
        make()


def test_a_bare_network_is_a_model_of_prepared_tensors() -> None:
    assert torch.equal(
        cs.grad_cam(small_network(), tensor()).values, cs.grad_cam(cs.Model(small_network()), tensor()).values
    )


@pytest.mark.parametrize(
    "make_copy", [copy.deepcopy, lambda m: pickle.loads(pickle.dumps(m))], ids=["copied", "pickled"]
)
def test_a_model_can_be_copied_and_sent_to_another_process(make_copy: Any) -> None:
    model = pictured(labels=["a", "b", "c", "d"])
    expected = cs.grad_cam(model, tensor())
    other = make_copy(model)
    assert (repr(other), other.source, other.module is model.module) == (repr(model), model.source, False)
    assert torch.equal(cs.grad_cam(other, tensor()).values, expected.values)


def test_the_attributes_of_a_model() -> None:
    model = pictured(labels=["a", "b", "c", "d"])
    assert repr(model) == "Model(Sequential, 3×16×16 input, 4 labels)"
    assert repr(cs.Model(small_network())) == "Model(Sequential, prepared tensors, 0 labels)"
    assert (
        repr(cs.Model(axes_net(1), input=cs.TensorInput(shape=(2, 64)), name="ear"))
        == "Model(ear, 2×64 input, 0 labels)"
    )
    assert model.source == "python:torch.nn.modules.container.Sequential"
    assert model.layers() == list("0123456")
    assert (model.label(1), model.label(9), cs.Model(small_network()).label(1)) == ("b", "class 9", "class 1")
    assert (model.device, model.dtype) == (torch.device("cpu"), torch.float32)


def test_the_error_for_wrong_arguments_states_the_signature() -> None:
    model = pictured()
    with pytest.raises(TypeError, match=r"grad_cam\(model, image, …\) takes the rest by name: target, layer, relu"):
        unchecked.grad_cam(model, tensor(), 3)
    with pytest.raises(TypeError, match=r"grad_cam\(\) needs image"):
        unchecked.grad_cam(model)
    with pytest.raises(TypeError, match=r"grad_cam\(\) got 'model' twice"):
        unchecked.grad_cam(model, tensor(), model=model)
    assert torch.equal(cs.grad_cam(image=tensor(), model=model).values, cs.grad_cam(model, tensor()).values)


def test_the_record_states_the_origin_of_a_value() -> None:
    model = pictured(labels=["a", "b", "c", "d"], source="somewhere:net", caveats=["made up"])
    record = cs.integrated_gradients(model, tensor(), target="c", steps=4).record
    assert (record.lens, record.title, record.input) == ("integrated-gradients", "Integrated gradients", "tensor")
    assert record.parameters == {
        "steps": 4,
        "baseline": "black",
        "quadrature": "gauss-legendre",
        "multiply_by_inputs": True,
        "seed": 0,
        "target": 2,
    }
    assert record.model["source"] == "somewhere:net"
    assert record.caveats == ("made up",)
    assert {"python", "torch", "convscope"} <= set(record.versions)
    assert record.asks
    assert record.reads
    assert cs.grad_cam(model, tensor(), layer=["0", "2"]).record.parameters["layer"] == ["0", "2"]
    assert [a.record.input for a in cs.saliency(model, tensor(2, 3, SIDE, SIDE))] == ["tensor[0]", "tensor[1]"]
