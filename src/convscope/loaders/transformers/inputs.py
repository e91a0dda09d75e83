"""The preprocessing of transformers as an input specification.

Most image processors are an `ImageInput` in other words. Whether the translation is exact is measured on two pictures:
where it is not (sizes that follow the picture, steps of a processor's own), the processor itself prepares the images.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image as Pillow
from torch import Tensor, nn

from convscope.engine.inputs.image_io import MAX_PIXELS, MAX_SIDE
from convscope.engine.inputs.specs import ImageInput, InputSpec, TensorInput
from convscope.errors import ConvScopeError, LoadError
from convscope.loaders.transformers.folders import whole_numbers
from convscope.loaders.transformers.library import quiet

_PROCESSOR_FILES = ("preprocessor_config.json", "processor_config.json")
_FILTERS = {0: "nearest", 1: "lanczos", 2: "bilinear", 3: "bicubic"}
"""Pillow's numbers for its filters."""
_MIN_CROP = 0.05
"""The smallest share of a picture's side that a center crop may keep."""
_ASSUMED_SIDE = 224
"""The side of images where neither a processor nor a configuration says it."""
_TOLERANCE = 1e-4
"""The largest difference of an exact translation, in prepared numbers; one gray level is about 0.02."""


@dataclass(frozen=True)
class ProcessorInput(ImageInput):
    """Images prepared by a processor of transformers, for steps that an `ImageInput` does not have.

    Once another size, mean or standard deviation is chosen, images are prepared as for any `ImageInput`.
    """

    processor: Any = field(default=None, repr=False, compare=False)
    own_settings: tuple[Any, ...] = field(default=(), repr=False, compare=False)

    def prepare(self, picture: Pillow.Image) -> Tensor:
        """Convert a Pillow image to a prepared tensor (channels, height, width)."""
        if not is_prepared_by_processor(self):
            return super().prepare(picture)
        return _processed(self.processor, picture)


def is_prepared_by_processor(spec: InputSpec) -> bool:
    """Whether a processor of transformers prepares the images of an input, and no other setting was chosen."""
    if not isinstance(spec, ProcessorInput):
        return False
    return spec.own_settings == (spec.size, spec.resize, spec.mean, spec.std)


def as_image_input(spec: InputSpec) -> InputSpec:
    """An input without its processor of transformers: the `ImageInput` of the same settings."""
    if not isinstance(spec, ProcessorInput):
        return spec
    return ImageInput(**{field.name: getattr(spec, field.name) for field in fields(ImageInput)})


def read_input(folder: Path, module: Any, *, trust: bool) -> tuple[InputSpec, str]:
    """The input of a network, and the kind of network whose preprocessing is assumed where the folder has none."""
    has_processor = any((folder / name).is_file() for name in _PROCESSOR_FILES)
    try:
        with quiet():
            if module.main_input_name != "pixel_values":
                return _signal_input(folder, module.config, has_processor), ""
            processor = _processor(folder, trust=trust) if has_processor else _default_processor(module.config)
            if processor is None:
                sides = _sides(getattr(module.config, "image_size", None)) or (_ASSUMED_SIDE, _ASSUMED_SIDE)
                return ImageInput(size=sides), "networks that take pixels in 0 … 1"
            _check_sizes(processor, folder)
            spec = _translate(processor, module.config)
            input = spec if _is_exact(spec, processor) else _with_processor(spec, processor)
            return input, "" if has_processor else str(module.config.model_type)
    except ConvScopeError:
        raise
    except Exception as error:
        reason = " ".join(str(error).split())[:240]
        raise LoadError(
            f"the preprocessing in {str(folder)!r} cannot be read: {type(error).__name__}: {reason}"
        ) from error


def without_channel_axis(module: nn.Module, inputs: tuple[Any, ...]) -> tuple[Any, ...]:
    """A hook before the forward of a network for sounds, which takes (N, samples): its inputs are (N, 1, samples)."""
    return (inputs[0][:, 0], *inputs[1:])


def _processor(folder: Path, *, trust: bool) -> Any:
    from transformers import AutoImageProcessor

    return AutoImageProcessor.from_pretrained(folder, backend="pil", local_files_only=True, trust_remote_code=trust)


def _default_processor(config: Any) -> Any:
    """A processor with the usual settings of this kind of network, for its size of images; None where none is known."""
    from transformers import CONFIG_MAPPING
    from transformers.models.auto.image_processing_auto import IMAGE_PROCESSOR_MAPPING

    kinds = [type(config)]
    whole = config.model_type.removesuffix("_vision_model")  # the part for images of a network for images and texts
    if whole != config.model_type and whole in CONFIG_MAPPING:
        kinds.append(CONFIG_MAPPING[whole])
    classes = next((known for kind in kinds if (known := IMAGE_PROCESSOR_MAPPING.get(kind, None))), None)
    sides = _sides(getattr(config, "image_size", None))
    if not classes:
        return None
    options = {} if sides is None else {"size": {"height": sides[0], "width": sides[1]}}
    candidates = classes if isinstance(classes, dict) else {"pil": classes}
    processor = candidates.get("pil") or next(iter(candidates.values()))
    if sides is not None and getattr(processor, "do_center_crop", False):
        options = {"size": {"shortest_edge": min(sides)}, "crop_size": options["size"]}
    try:
        return processor(**options)
    except (TypeError, ValueError):  # sizes of another form: shortest_edge
        return processor()


def _check_sizes(processor: Any, folder: Path) -> None:
    """Refuse sizes that no image may have, before an image of them is made."""
    sizes = [(name, number) for name, number in whole_numbers(processor.to_dict()) if number > MAX_SIDE]
    crop_pct = getattr(processor, "crop_pct", None)
    if crop_pct is not None and not _MIN_CROP <= crop_pct <= 1:
        raise LoadError(f"the preprocessing in {str(folder)!r} sets crop_pct to {crop_pct!r}, which is not up to 1")
    if sizes:
        name, number = sizes[0]
        raise LoadError(f"the preprocessing in {str(folder)!r} sets {name} to {number:,}, more than {MAX_SIDE} pixels")
    area = math.prod(_sides(processor.size) or ())
    if area > MAX_PIXELS:
        raise LoadError(
            f"the preprocessing in {str(folder)!r} makes images of {area:,} pixels, more than {MAX_PIXELS:,}"
        )


def _translate(processor: Any, config: Any) -> ImageInput:
    """A processor as an `ImageInput`, as nearly as it can say the same."""
    size = {name: value for name, value in dict(processor.size or {}).items() if value is not None}
    crop = _sides(processor.crop_size) if getattr(processor, "do_center_crop", False) else None
    shortest = size.get("shortest_edge")
    if shortest is not None and crop is None and hasattr(processor, "crop_pct"):  # ConvNeXt's own rule
        stretch, crop = shortest >= 384, (shortest, shortest)
        resize = shortest if stretch else int(shortest / processor.crop_pct)
    else:
        stretch = shortest is None
        resize = shortest if shortest is not None else min(_sides(size) or (224, 224))
    sides = crop or _sides(size) or _sides(getattr(config, "image_size", None)) or (resize, resize)
    mean, std = _scaled_statistics(processor)
    return ImageInput(
        size=sides,
        resize=None if resize == min(sides) else resize,
        mean=mean,
        std=std,
        fit="stretch" if stretch else "crop",
        crop_margin="floor",
        interpolation=_FILTERS.get(int(processor.resample or 0), "bilinear"),  # type: ignore[arg-type]
    )


def _scaled_statistics(processor: Any) -> tuple[list[float], list[float]]:
    """Mean and standard deviation of pixels scaled to 0 … 1, whatever a processor scales them to."""
    normalized = bool(processor.do_normalize)
    mean = list(processor.image_mean) if normalized else [0.0] * 3
    std = list(processor.image_std) if normalized else [1.0] * 3
    white = 255 * (processor.rescale_factor if processor.do_rescale else 1)
    return [value / white for value in mean], [value / white for value in std]


def _is_exact(spec: ImageInput, processor: Any) -> bool:
    """Whether both prepare a landscape and a portrait picture alike."""
    generator = np.random.default_rng(0)
    for shape in ((67, 102, 3), (93, 58, 3)):
        picture = Pillow.fromarray(generator.integers(0, 256, shape, dtype=np.uint8))
        prepared, expected = spec.prepare(picture), _processed(processor, picture)
        if prepared.shape != expected.shape or float((prepared - expected).abs().max()) > _TOLERANCE:
            return False
    return True


def _with_processor(spec: ImageInput, processor: Any) -> ProcessorInput:
    settings = (spec.size, spec.resize, spec.mean, spec.std)
    return ProcessorInput(**vars(spec), processor=processor, own_settings=settings)


def _processed(processor: Any, picture: Pillow.Image) -> Tensor:
    """One picture as a processor prepares it."""
    prepared = processor(images=picture.convert("RGB"), return_tensors="pt")["pixel_values"]
    return torch.as_tensor(prepared, dtype=torch.float32, device="cpu")[0]


def _sides(size: Any) -> tuple[int, int] | None:
    """(height, width) in any of the forms in which transformers writes it; None where it is no fixed size."""
    if isinstance(size, int):
        return size, size
    if isinstance(size, Sequence) and len(size) == 2:
        return int(size[0]), int(size[1])
    sides = dict(size or {})
    height, width = sides.get("height"), sides.get("width")
    return None if height is None or width is None else (int(height), int(width))


def _signal_input(folder: Path, config: Any, has_extractor: bool) -> TensorInput:
    """The input of a network for sounds: a signal (1, samples), or a spectrogram (1, frames, bins)."""
    frames, bins = getattr(config, "max_length", None), getattr(config, "num_mel_bins", None)
    if frames and bins:
        return TensorInput(shape=(1, int(frames), int(bins)))
    from transformers import AutoFeatureExtractor

    extractor = AutoFeatureExtractor.from_pretrained(folder, local_files_only=True) if has_extractor else None
    return TensorInput(rate=float(extractor.sampling_rate) if extractor is not None else None)
