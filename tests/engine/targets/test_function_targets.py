"""Functions as targets: copies of an image are scored alike, and dependence on the index is refused."""

import functools
from typing import Any

import pytest
import torch
from torch import Tensor

import convscope as cs
from convscope.errors import OutputError
from tests.engine.networks import SIDE, small_network, tensor

# One target per image

REFERENCES = tensor(20, 4, seed=7)
"""More images than fit into one chunk."""


class Similarity:
    """The similarity of an output to one reference, or to the reference of the image that each row belongs to."""

    def __init__(self, reference: Tensor) -> None:
        self.reference = reference

    def __call__(self, output: Tensor) -> Tensor:
        return (output * self.reference).sum(1)

    def of_rows(self, output: Tensor, rows: Tensor) -> Tensor:
        return (output * self.reference[rows]).sum(1)


def _by_keyword(output: Tensor, *, rows: Tensor) -> Tensor:
    return (output * REFERENCES[rows]).sum(1)


def _similarity(reference: Tensor, output: Tensor) -> Tensor:
    return (output * reference).sum(1)


PER_IMAGE: dict[str, Any] = {
    "a function with rows": lambda output, rows: (output * REFERENCES[rows]).sum(1),
    "a function with rows by keyword": _by_keyword,
    "a method with rows": Similarity(REFERENCES).of_rows,
    "a list of callables": [Similarity(reference) for reference in REFERENCES],
    "a list of partial functions": [functools.partial(_similarity, reference) for reference in REFERENCES],
}


LENSES: dict[str, tuple[Any, dict[str, Any]]] = {
    "saliency": (cs.saliency, {}),
    "saliency, smoothed": (cs.saliency, {"smooth": 3}),
    "grad_cam": (cs.grad_cam, {"layer": "2"}),
    "ablation_cam": (cs.ablation_cam, {"layer": "2"}),
    "integrated_gradients": (cs.integrated_gradients, {"steps": 4}),
    "smooth_grad": (cs.smooth_grad, {"samples": 3}),
    "occlusion": (cs.occlusion, {"patch": 8, "stride": 8}),
    "rise": (cs.rise, {"samples": 16}),
    "lime": (cs.lime, {"samples": 32}),
    "kernel_shap": (cs.kernel_shap, {"samples": 32}),
    "lrp": (cs.lrp, {}),
    "deep_lift": (cs.deep_lift, {}),
}


@pytest.mark.parametrize(("lens", "options"), LENSES.values(), ids=LENSES)
def test_copies_of_an_image_are_scored_by_its_own_target(lens: Any, options: Any) -> None:
    x = tensor(20, 3, SIDE, SIDE)
    net = small_network()
    single = lens(net, x[13:14], target=Similarity(REFERENCES[13]), **options)
    assert bool(single.values.any())
    for target in PER_IMAGE.values():
        attribution = lens(net, x, target=target, **options)[13]
        torch.testing.assert_close(attribution.values, single.values, rtol=1e-3, atol=1e-5)
        assert attribution.score == pytest.approx(single.score, abs=1e-5)


BY_INDEX: dict[str, Any] = {
    "references paired with the batch": lambda output: (output * REFERENCES).sum(1),
    "references of the first rows": lambda output: (output * REFERENCES[: len(output)]).sum(1),
    "pairs": lambda output: torch.stack([(a * b).sum() for a, b in zip(output, REFERENCES, strict=False)]),
    "the difference from the batch mean": lambda output: output[:, 0] - output[:, 0].mean(),
    "a softmax over the batch": lambda output: output.softmax(0)[:, 1],
}


@pytest.mark.parametrize("target", BY_INDEX.values(), ids=BY_INDEX)
@pytest.mark.parametrize("images", [2, 20])
def test_a_function_that_depends_on_the_index_in_the_batch_is_refused(target: Any, images: int) -> None:
    x = tensor(images, 3, SIDE, SIDE)
    for lens, options in (LENSES["saliency"], LENSES["rise"], LENSES["occlusion"], LENSES["ablation_cam"]):
        with pytest.raises(OutputError, match=r"a list with one target per image, or a function of \(output, rows\)"):
            lens(small_network(), x, target=target, **options)


def test_a_function_that_depends_on_the_index_is_refused_for_chunks_of_one(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("convscope.engine.context.chunking.MAX_CHUNK", 1)
    with pytest.raises(OutputError, match="by its index in the batch"):
        cs.saliency(small_network(), tensor(3, 3, SIDE, SIDE), target=BY_INDEX["pairs"])


def test_a_function_of_one_image_may_be_written_for_one_row() -> None:
    attribution = cs.saliency(small_network(), tensor(), target=lambda output: output[0, 3][None])
    assert attribution.score == pytest.approx(small_network()(tensor())[0, 3].item(), abs=1e-6)
