"""Networks of transformers give what transformers gives, from a photograph on, and every lens treats them as others."""

import json
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from typer.testing import CliRunner

import convscope as cs
from convscope.catalogue import declared_lenses
from convscope.cli import app
from convscope.errors import CapabilityError, LayerError
from convscope.spec import LensSpec
from tests.lens_calls import call_lens
from tests.loaders.transformers import networks
from tests.loaders.transformers.networks import CLASSIFIERS, FOR_IMAGES, FOR_SOUNDS, Build, photograph

FolderOf = Callable[[Build], Path]


def own_output(folder: Path) -> Any:
    """What transformers itself makes of the photograph: its processor, then its network."""
    import transformers

    config = transformers.AutoConfig.from_pretrained(folder)
    name = config.architectures[0]
    cls = getattr(transformers, "CLIPVisionModelWithProjection" if name == "CLIPModel" else name)
    options = {}
    if name == "CLIPModel":
        options["config"] = config.vision_config
        config.vision_config.projection_dim = config.projection_dim
    network = cls.from_pretrained(folder, **options).eval()
    processor = transformers.AutoImageProcessor.from_pretrained(folder, backend="pil")
    with torch.no_grad():
        return network(processor(images=photograph(), return_tensors="pt")["pixel_values"])


def explained_part(output: Any, size: Sequence[int]) -> Tensor:
    """The part of an output that is explained, written out once more."""
    for name in ("image_embeds", "pooler_output"):
        if name in output and "logits" not in output:
            return output[name]
    if "predicted_depth" in output:
        return output.predicted_depth.unsqueeze(1)
    if "masks_queries_logits" in output:
        classes, masks = output.class_queries_logits.softmax(-1)[:, :, :3], output.masks_queries_logits.sigmoid()
        return (classes[:, :, :, None, None] * masks[:, :, None]).sum(1)
    return boxes_of(output, *size) if "pred_boxes" in output else output.logits


def boxes_of(output: Any, height: int, width: int) -> Tensor:
    """The queries of DETR as boxes in pixels of the prepared picture, with score and label, the best first."""
    rows = []
    for logits, (x, y, w, h) in zip(output.logits[0], output.pred_boxes[0].tolist(), strict=True):
        score, label = logits.softmax(0)[:3].max(0)
        edges = [width * (x - w / 2), height * (y - h / 2), width * (x + w / 2), height * (y + h / 2)]
        rows.append([*edges, float(score), float(label)])
    rows.sort(key=lambda row: -row[4])
    return torch.tensor([rows + [[0, 0, 0, 0, 0, -1]] * (300 - len(rows))])


@pytest.mark.parametrize("build", FOR_IMAGES, ids=lambda build: build.__name__)
def test_the_output_is_that_of_transformers(build: Build, folder_of: FolderOf) -> None:
    folder = folder_of(build)
    model = cs.load(f"hf:{folder}")
    prepared = model.prepare(photograph()).tensor
    with torch.no_grad():
        output = model.run(prepared)
    expected = explained_part(own_output(folder), prepared.shape[-2:])
    assert output.shape == expected.shape
    assert (output - expected).abs().max() <= 1e-5 * max(1.0, float(expected.abs().max()))
    assert float(output.std()) > 1e-4
    assert model.caveats == ()


@pytest.mark.parametrize(
    ("problem_type", "task", "meaning"),
    [
        ("multi_label_classification", "multilabel", "scores of labels that do not exclude each other"),
        ("regression", "regression", "values, not scores of classes"),
        ("single_label_classification", "classification", "plain scores"),
        (None, "classification", "plain scores"),
    ],
)
def test_the_problem_type_of_a_classifier_decides_its_task(
    problem_type: str | None, task: str, meaning: str, folder_of: FolderOf, tmp_path: Path
) -> None:
    folder = shutil.copytree(folder_of(networks.resnet), tmp_path / "network")
    config = json.loads((folder / "config.json").read_text("utf-8"))
    (folder / "config.json").write_text(json.dumps({**config, "problem_type": problem_type}), "utf-8")
    model = cs.load(f"hf:{folder}")
    prediction: Any = cs.predict(model, photograph())
    assert model.task is not None
    assert model.task.name == task
    assert str(prediction.notes["output"]).startswith(meaning)
    assert set(prediction.labels) == {"cat", "dog", "bird"}
    sums_to_one = abs(sum(prediction.confidences) - 1) < 1e-4
    assert sums_to_one == (task == "classification")


@pytest.mark.parametrize("build", FOR_SOUNDS, ids=lambda build: build.__name__)
def test_networks_for_sounds_take_a_channel_axis(build: Build, folder_of: FolderOf) -> None:
    import transformers

    folder = folder_of(build)
    model = cs.load(f"hf:{folder}")
    own = transformers.AutoModelForAudioClassification.from_pretrained(folder).eval()
    sound = torch.randn(1, 1, *((400,) if build is networks.wav2vec2 else (64, 16)))
    with torch.no_grad():
        torch.testing.assert_close(model.run(sound), own(sound[:, 0]).logits)
    assert model.labels == ("cat", "dog", "bird")
    attribution = cs.integrated_gradients(model, sound, baseline="black", target="dog", steps=4)
    assert attribution.values.shape == sound.shape[2:]


def test_what_a_folder_says_is_read(folder_of: FolderOf) -> None:
    model = cs.load(f"hf:{folder_of(networks.vit)}")
    assert model.labels == ("cat", "dog", "bird")
    assert model.name == "vit"
    assert model.source == f"hf:{folder_of(networks.vit)}"
    assert "vit.layers.0.attention.q_proj" in model.layers()
    assert model.meaning.kind == "logits" or model.meaning.kind == "scores"
    assert cs.load(f"hf:{folder_of(networks.dpt)}").meaning.kind == "value"
    assert cs.load(f"hf:{folder_of(networks.vit)}?output=logits&size=32").output == "logits"


@pytest.mark.parametrize("build", CLASSIFIERS, ids=lambda build: build.__name__)
def test_a_lens_of_each_family_explains_a_classifier(build: Build, folder_of: FolderOf) -> None:
    model = cs.load(f"hf:{folder_of(build)}")
    photo = photograph()
    prediction = cs.predict(model, photo)
    assert {*prediction.labels} == {"cat", "dog", "bird"}
    assert cs.structure(model).parameters == sum(p.numel() for p in model.module.parameters())
    target = "dog"
    score = model.run(model.prepare(photo).tensor)[0, 1].item()
    for attribution in (
        cs.grad_cam(model, photo, target=target),
        cs.integrated_gradients(model, photo, target=target, steps=8),
        cs.occlusion(model, photo, target=target, patch=16, stride=16),
        cs.deep_lift(model, photo, target=target),
        cs.lrp(model, photo, target=target),
        cs.attn_lrp(model, photo, target=target),
        cs.shapley_cam(model, photo, target=target),
    ):
        assert attribution.values.abs().max() > 0, attribution.method
        assert attribution.score == pytest.approx(score, abs=1e-5)
    deep_lift = cs.deep_lift(model, photo, target=target)
    assert abs(deep_lift.notes["relative completeness gap"]) < 1e-3
    assert "conservation gap" in cs.lrp(model, photo, target=target).notes


def test_the_task_of_a_folder_is_that_of_its_class(folder_of: FolderOf) -> None:
    for build, name in ((networks.segformer, "segmentation"), (networks.detr, "detection")):
        model = cs.load(f"hf:{folder_of(build)}")
        assert model.task is not None
        assert model.task.name == name
        assert cs.saliency(model, photograph()).values.abs().max() > 0
        assert type(cs.predict(model, photograph())).__name__ == {"segmentation": "Segmentation"}.get(
            name, "Detections"
        )


def test_a_map_of_depths_asks_for_a_region_and_explains_it(folder_of: FolderOf) -> None:
    model = cs.load(f"hf:{folder_of(networks.dpt)}")
    with pytest.raises(cs.ConvScopeError, match="a class needs a region"):
        cs.saliency(model, photograph())
    assert cs.saliency(model, photograph(), target=cs.Region(0)).values.abs().max() > 0


def test_a_folder_is_recognized_by_its_content(folder_of: FolderOf, tmp_path: Path) -> None:
    folder = folder_of(networks.resnet)
    model = cs.load(folder)
    assert model.source == str(folder)
    assert model.name == "resnet"
    assert cs.load(f"{folder}?size=48").input.size == (48, 48)
    for content in ("{", "[]", '{"vocabulary": 3}'):
        (tmp_path / "config.json").write_text(content)
        with pytest.raises(
            cs.ConvScopeError,
            match=r"holds no model: a folder of Hugging Face has a config\.json that names its model_type",
        ):
            cs.load(tmp_path)


def test_folders_are_opened_on_the_command_line(
    folder_of: FolderOf, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)  # predict writes its picture into the working folder

    def printed(*words: str) -> str:
        result = CliRunner().invoke(app(list(words)), list(words))
        assert result.exit_code == 0, result.stderr
        return result.stdout

    described = printed("models", f"hf:{folder_of(networks.detr)}")
    assert "ProcessorInput" not in described
    assert "size 48×48" in described
    assert "3: cat, dog, bird" in described
    assert "cat" in printed("predict", "sample:photo/china", "--model", str(folder_of(networks.vit)))


@pytest.fixture(scope="module")
def vision_transformer(folder_of: FolderOf) -> cs.Model:
    return cs.load(f"hf:{folder_of(networks.vit)}")


@pytest.mark.parametrize("spec", [s for s in declared_lenses() if "model" in s.inputs], ids=lambda spec: spec.command)
def test_every_lens_but_cam_works_on_a_vision_transformer(spec: LensSpec, vision_transformer: cs.Model) -> None:
    images = [cs.sample(f"photo/{name}").image for name in ("china", "flower")]
    repetitions = {"samples": 4, "steps": 4}
    if "gates" in spec.needs:
        with pytest.raises(CapabilityError, match="vit has none"):
            call_lens(spec, vision_transformer, images, repetitions=repetitions)
    elif spec.name == "cam":
        with pytest.raises(LayerError, match="CAM needs global average pooling"):
            call_lens(spec, vision_transformer, images, repetitions=repetitions)
    else:
        assert call_lens(spec, vision_transformer, images, repetitions=repetitions)


def test_a_processor_is_no_part_of_the_record(folder_of: FolderOf, tmp_path: Path) -> None:
    model = cs.load(f"hf:{folder_of(networks.detr)}")
    attribution = cs.saliency(model, photograph(), target="box:0")
    attribution.save(str(tmp_path / "map.json"))
    written = json.loads((tmp_path / "map.json").read_text())["record"]["model"]["input"]
    assert written["kind"] == "ProcessorInput"
    assert set(written) == {"kind", "size", "mean", "std", "channels", "fit", "interpolation", "crop_margin"}
