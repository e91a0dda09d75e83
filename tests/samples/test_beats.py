"""Generated heartbeats: reproducible, balanced, with exact masks, and explained where they are abnormal."""

from typing import Any

import numpy as np
import pytest
import torch

import convscope as cs
from convscope.errors import InputError, UnknownName
from convscope.samples import beats

EVALUATED = 80


def test_a_recording_follows_from_its_seed_alone() -> None:
    first, repeated = beats.recording(5), beats.recording(5)
    assert np.array_equal(first.signal, repeated.signal)
    assert (first.signal.shape, first.mask.shape) == ((1, 720), (720,))
    assert first.signal.dtype == np.float32
    assert not np.array_equal(first.signal, beats.recording(9).signal)


def test_classes_are_balanced_and_normal_recordings_have_no_mask() -> None:
    drawn = [beats.recording(seed) for seed in range(40)]
    assert np.bincount([each.label for each in drawn]).tolist() == [10] * 4
    for each in drawn:
        assert each.mask.any() == (each.label != 0)
        assert not each.mask[:18].any(), "what is abnormal lies within the recording"
        assert not each.mask[-18:].any()


@pytest.mark.parametrize("label", [2, 3])
def test_the_mask_is_where_an_abnormal_recording_differs(label: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without noise, a recording and its normal twin differ within the mask and nowhere else."""
    monkeypatch.setattr(beats, "_varied", lambda wave, _rng, _share: wave)
    monkeypatch.setattr(beats, "_recorded", lambda signal, _rng: signal[None].astype(np.float32))
    seeds = range(label, 60, 4)
    abnormal = [beats.recording(seed) for seed in seeds]
    monkeypatch.setattr(beats, "_abnormal", lambda _label, person, _rng: person)
    for each, seed in zip(abnormal, seeds, strict=True):
        difference = np.abs(each.signal - beats.recording(seed).signal)[0]
        assert difference[each.mask].max() > 0.2
        assert difference[~each.mask].max() < 0.08


def test_the_network_is_right_and_its_map_lies_on_the_abnormal_beat() -> None:
    model = cs.load("bundled:beats")
    drawn = [beats.recording(seed) for seed in range(EVALUATED)]
    batch = torch.stack([model.input.prepare_array(each.signal).tensor for each in drawn])  # type: ignore[union-attr]
    predictions: Any = cs.predict(model, batch)
    right = [p.indices[0] == each.label for p, each in zip(predictions, drawn, strict=True)]
    assert np.mean(right) > 0.97
    abnormal = [index for index, each in enumerate(drawn) if each.label and right[index]]
    sums: Any = cs.integrated_gradients(model, batch, steps=16)
    assert np.mean([drawn[index].mask[int(sums[index].values.argmax())] for index in abnormal]) >= 0.9
    maps: Any = cs.grad_cam(model, batch)
    half_field = 17  # samples that a position of the last map sees on either side
    hits = [
        bool(drawn[index].mask[max(0, peak - half_field) : peak + half_field + 1].any())
        for index in abnormal
        for peak in [int(maps[index].values.argmax())]
    ]
    assert np.mean(hits) >= 0.9


def test_a_sample_is_a_signal_in_seconds() -> None:
    sample = cs.sample("beats/1")
    assert (sample.axes, sample.unit, sample.label) == (("time",), "s", "premature beat")
    value: Any = cs.saliency(cs.load("bundled:beats"), "sample:beats/1")
    assert value.record.caveats == ()
    assert (value.record.unit, value.record.input) == ("s", "sample:beats/1")
    with pytest.raises(InputError, match="sample:beats/1 is no picture, but has the axes time"):
        cs.saliency(cs.load("bundled:shapes"), "sample:beats/1")
    with pytest.raises(UnknownName, match="beats are numbered"):
        cs.sample("beats/x")
