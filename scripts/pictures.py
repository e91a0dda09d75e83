"""Generate the pictures of the README and the gallery: ``make pictures``.

The sheet of all lenses on photographs needs ``../shared/assets``. It shows maps only, since the photographs must not be
published.
"""

import gzip
import tempfile
from collections import OrderedDict
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn

import convscope as cs
from convscope.errors import ConvScopeError
from convscope.render import raster
from convscope.render.canvas import GAP, MARGIN, SMALL, Canvas
from convscope.render.scale import map_values, scale_of
from convscope.samples.shapes import FIRST_TRAINING_SEED, scene
from convscope.spec import LensSpec
from convscope.training.film import training_film
from convscope.training.views.confusion_matrix import confusion_matrix
from convscope.training.views.worst_mistakes import worst_mistakes
from convscope.values import Attribution

ROOT = Path(__file__).parents[1]
PICTURES = ROOT / "docs/pictures"
ASSETS = ROOT.parent / "shared/assets"
SCENES = ["sample:shapes/33", "sample:shapes/12"]
PHOTOS = (
    ("pytorch-grad-cam__both.png", "boxer"),
    ("pytorch-grad-cam__both.png", "tiger cat"),
    ("captum__zebra.jpg", "zebra"),
)
WISH = {
    "circle": 0,
    "square": 0,
    "triangle": -1,
    "star": 1,
    "cross": 0,
    "ring": 0,
    "heart": 0,
    "crescent": -0.5,
    "arrow": 0.5,
    "lightning": 0,
}
"""How much each class is wished for, for the network that takes a scene and a wish."""
MAP, COLUMNS = 112, 4
LARGE = 400_000
"""Pictures larger than this, in bytes, are reduced to 256 colors."""


def main() -> None:
    """Write all pictures."""
    PICTURES.mkdir(exist_ok=True)
    model = cs.load("bundled:shapes")
    maps = [spec.command for spec in cs.lenses() if spec.gives_map]
    cs.compare(model, SCENES, ["grad-cam", "layer-cam", "smooth-grad", "integrated-gradients"]).save(
        PICTURES / "compare.png"
    )
    cs.compare(model, SCENES, maps).save(PICTURES / "all.png")
    cs.grad_cam(model, SCENES[0]).save(PICTURES / "grad-cam.png")
    _save_shortcut()
    _save_training()
    cs.integrated_gradients(model, SCENES[0]).save(PICTURES / "integrated-gradients.png")
    cs.integrated_gradients(model, SCENES[0], target="star - triangle").save(PICTURES / "difference.png")
    cs.compare(model, SCENES[0], "lrp", targets=["star", "triangle", "star - triangle"]).save(PICTURES / "targets.png")
    lrp: Any = cs.lrp  # its stub does not list the options that all maps have
    lrp(model, SCENES[0], composite="epsilon-plus-flat", smooth=16).save(PICTURES / "smooth.png")
    cs.rise(model, SCENES[0], samples=500).save(PICTURES / "rise.png")
    cs.layer_conductance(model, SCENES[0], layer="layer2").save(PICTURES / "layer-conductance.png")
    cs.recommend(model, SCENES[0], "class").save(PICTURES / "recommend.png")
    cs.predict(model, SCENES[0]).save(PICTURES / "predict.png")
    cs.grad_cam(cs.load("bundled:shapes?weights=none"), SCENES[0]).save(PICTURES / "random.png")
    for name, value in {**inside(model), **learned(model), **attending(), **other_inputs(), **other_tasks()}.items():
        value.save(PICTURES / f"{name}.png")
    if ASSETS.is_dir():
        photographs(PICTURES / "photographs.png")
        trained_units(PICTURES / "trained-units.png")
        keras_convolutions(PICTURES / "keras-mnist.png")
    else:
        print(f"no sheet of photographs: {ASSETS} is not here")
    for path in sorted(PICTURES.glob("*.png")):
        if path.stat().st_size > LARGE:
            Image.open(path).convert("RGB").quantize(256).save(path, optimize=True)
        print(f"{path.name}: {path.stat().st_size // 1024} kB")


def _save_shortcut() -> None:
    """The doctor's evidence of a network that answers from a watermark."""
    model, images = cs.load("bundled:shapes-shortcut"), "sample:shapes-shortcut/0-119"
    (finding,) = cs.diagnose(model, images, checks=["shortcut"]).findings
    assert finding.picture is not None
    finding.picture().save(PICTURES / "shortcut.png")


def _save_training() -> None:
    """The film of a small training, and its confusion matrix above its worst mistakes."""
    with tempfile.TemporaryDirectory() as folder:
        cs.train("digits", Path(folder) / "digits", epochs=6)
        log = cs.open_log(folder)
        training_film(log, PICTURES / "training-film.gif")
        views = [picture for view in (confusion_matrix, worst_mistakes) for picture in view.draw(log)]
    pixels = [Image.fromarray(picture.pixels).convert("RGB") for picture in views]
    sheet = Image.new("RGB", (max(p.width for p in pixels), sum(p.height for p in pixels)), "white")
    top = 0
    for part in pixels:
        sheet.paste(part, (0, top))
        top += part.height
    sheet.save(PICTURES / "training-mistakes.png")


def inside(model: cs.Model) -> dict[str, cs.Value]:
    """The structure of the network, and what it computes."""
    return {
        "structure": cs.structure(model),
        "kernels": cs.kernels(model),
        "receptive-field": cs.receptive_field(model, "sample:shapes/0-63"),
        "feature-maps": cs.feature_maps(model, SCENES[0], layer="layer1"),
        "step-through": cs.step_through(model, SCENES[0], unit="layer1.0.conv1[3, 20, 20]"),
        "convolve": cs.convolve(),
        "activations": cs.activations(model, "sample:shapes/0-119"),
        "parameter-gradients": cs.parameter_gradients(model, "sample:shapes/0-119"),
        "top-inputs": cs.top_inputs(model, "sample:shapes", unit=[f"layer3[{unit}]" for unit in (17, 32, 52)], k=6),
    }


def learned(model: cs.Model) -> dict[str, cs.Value]:
    """What its units respond to, and how it represents a scene."""
    layers = ["layer1", "layer2", "layer3"]
    return {
        "activation-maximization": cs.activation_maximization(model),
        "deep-dream": cs.deep_dream(model, SCENES[0]),
        "invert": cs.invert(model, SCENES[0], layer=layers),
        "caricature": cs.caricature(model, SCENES[0], layer=layers),
        "style-transfer": cs.style_transfer(model, SCENES[0], style=SCENES[1]),
        "style-features": cs.style_features(model, SCENES[1]),
        "deconv-unit": cs.deconv_unit(model, SCENES[0]),
    }


def attending() -> dict[str, cs.Value]:
    """What the heads of a network look at that compares two objects, why it answers, and what is alike to it."""
    pairs, pair = cs.load("bundled:pairs"), "sample:pairs/2"
    return {
        "attention": cs.attention(pairs, pair, patch="2x5"),
        "transformer-attribution": cs.transformer_attribution(pairs, pair, target="same shape"),
        "similarity": cs.similarity(pairs, pair, place="20x44"),
        "gate-maps": cs.gates(gated(), SCENES[0]),
        "matched": cs.similarity(pairs, pair, guide="sample:pairs/3", place="18x53"),
    }


def gated() -> cs.Model:
    """The bundled network of scenes with a gate of channels and one of places before its last layer, trained here.

    How far they are open is a part of the loss, so that what the answer does not need is closed.
    """
    shapes = cs.load("bundled:shapes")

    class ChannelGate(nn.Module):
        """Squeeze-excite: how far each channel is open depends on the means of all."""

        def __init__(self, channels: int) -> None:
            super().__init__()
            self.reduce, self.expand = nn.Linear(channels, channels // 8), nn.Linear(channels // 8, channels)

        def openness(self, x: Tensor) -> Tensor:
            return self.expand(self.reduce(x.mean((2, 3))).relu()).sigmoid()[:, :, None, None]

        def forward(self, x: Tensor) -> Tensor:
            return x * self.openness(x)

    class PlaceGate(nn.Module):
        """How far each place is open depends on the features around it."""

        def __init__(self, channels: int) -> None:
            super().__init__()
            self.weigh = nn.Conv2d(channels, 1, 3, padding=1)

        def openness(self, x: Tensor) -> Tensor:
            return self.weigh(x).sigmoid()

        def forward(self, x: Tensor) -> Tensor:
            return x * self.openness(x)

    torch.manual_seed(0)
    channel_gate, place_gate = ChannelGate(96), PlaceGate(96)
    body = nn.Sequential(*list(shapes.module.children())[:-2]).eval()
    gates_and_head = nn.Sequential(channel_gate, place_gate, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(96, 10))
    seeds = range(FIRST_TRAINING_SEED, FIRST_TRAINING_SEED + 300)
    scenes = [scene(seed) for seed in seeds]
    with torch.no_grad():
        features = body(torch.cat([shapes.prepare(Image.fromarray(drawn.image)).tensor for drawn in scenes]))
    labels = torch.tensor([drawn.label for drawn in scenes])
    optimizer = torch.optim.Adam(gates_and_head.parameters(), 1e-2)
    for _ in range(100):
        optimizer.zero_grad()
        opened = channel_gate.openness(features).mean() + place_gate.openness(channel_gate(features)).mean()
        (nn.functional.cross_entropy(gates_and_head(features), labels) + 0.3 * opened).backward()
        optimizer.step()
    names = ("channel_gate", "place_gate", "pool", "flatten", "head")
    layers = {"body": body, **dict(zip(names, gates_and_head, strict=True))}
    return cs.Model(nn.Sequential(OrderedDict(layers)).eval(), input=shapes.input, labels=shapes.labels, name="gated")


def other_inputs() -> dict[str, cs.Value]:
    """A signal and a volume, of which the truth is known, and what the networks for them compute."""
    beats, nodules = cs.load("bundled:beats"), cs.load("bundled:nodules")
    return {
        "signal": cs.grad_cam(beats, "sample:beats/1"),
        "signal-feature-maps": cs.feature_maps(beats, "sample:beats/1"),
        "signal-kernels": cs.kernels(beats),
        "volume": cs.grad_cam(nodules, "sample:nodules/1"),
        "words": cs.integrated_gradients(cs.load("bundled:sequence"), "sample:sequence/1"),
        "gates": cs.feature_maps(cs.load("bundled:sequence"), "sample:sequence/1", layer="gru", gates=True, channels=8),
        "several-inputs": cs.integrated_gradients(wishes(), {"scene": SCENES[0], "wish": WISH}),
    }


def other_tasks() -> dict[str, cs.Value]:
    """The boxes and the classes in a scene with several objects, and the maps of two of each."""
    detector, segmenter, scene = cs.load("bundled:detector"), cs.load("bundled:segmenter"), "sample:scenes/1"
    classes: Any = cs.predict(segmenter, scene)
    shown = [label for label, index in zip(classes.labels, classes.indices, strict=True) if index != 0][:2]
    return {
        "detection": cs.predict(detector, scene),
        "detection-boxes": cs.compare(detector, scene, "layer-cam", targets=["box:0", "box:1"]),
        "segmentation": classes,
        "segmentation-classes": cs.compare(segmenter, scene, "grad-cam", targets=shown),
    }


def wishes() -> cs.Model:
    """The network for scenes with a second input: how much each class is wished for."""
    shapes = cs.load("bundled:shapes")

    class Wishes(nn.Module):
        """How welcome a scene is: the probability of each class times the wish for it."""

        def __init__(self) -> None:
            super().__init__()
            self.network = shapes.module

        def forward(self, scene: Tensor, wish: Tensor) -> Tensor:
            return (self.network(scene).softmax(1) * wish).sum(1, keepdim=True)

    inputs = {"scene": shapes.input, "wish": cs.TableInput(features=shapes.labels or ())}
    return cs.Model(Wishes().eval(), inputs=inputs, labels=["welcome"], meaning="value", name="wishes")


def trained_units(path: Path) -> None:
    """Activation maximization of sixteen channels in four layers of a trained SqueezeNet."""
    model = cs.load("torchvision:squeezenet1_1", weights=ASSETS / "models/squeezenet1_1.safetensors")
    units = [
        f"{layer}[{unit}]" for layer in ("features.3", "features.6", "features.9", "features.12") for unit in range(4)
    ]
    cs.activation_maximization(model, unit=units).save(path)


def keras_convolutions(path: Path) -> None:
    """All convolution outputs of a small Keras network for MNIST, trained here on 12,000 digits for two epochs."""
    from convscope.loaders.keras import engine

    keras: Any = engine.library()
    layers = keras.layers
    keras.utils.set_random_seed(0)
    stack = [
        keras.Input((28, 28, 1)),
        layers.Rescaling(1 / 255),
        layers.Conv2D(8, 3, activation="relu", name="conv1"),
        layers.Conv2D(8, 3, activation="relu", name="conv2"),
        layers.MaxPooling2D(),
        layers.Conv2D(16, 3, activation="relu", name="conv3"),
        layers.Flatten(),
        layers.Dense(10, activation="softmax", name="digit"),
    ]
    network = keras.Sequential(stack)
    network.compile(optimizer=keras.optimizers.Adam(2e-3), loss="sparse_categorical_crossentropy", metrics=["accuracy"])
    network.fit(*_mnist("train", 12_000), batch_size=64, epochs=2, verbose=0)
    images, labels = _mnist("t10k", 2_000)
    print(
        f"Keras network for MNIST: accuracy {network.evaluate(images, labels, verbose=0)[1]:.1%} on 2,000 test digits"
    )
    with tempfile.TemporaryDirectory() as folder:
        network.save(f"{folder}/mnist.keras")
        model = cs.load(f"{folder}/mnist.keras")
    picture = images[int(np.flatnonzero(labels == 5)[0])]
    cs.feature_maps(model, picture, layer=["conv1", "conv2", "conv3"]).save(path)


def _mnist(part: str, count: int) -> tuple[np.ndarray, np.ndarray]:
    """The first images (N, 28, 28, 1) and labels of a part of MNIST."""
    folder = ASSETS / "mnist"
    pixels = gzip.decompress((folder / f"{part}-images-idx3-ubyte.gz").read_bytes())
    labels = gzip.decompress((folder / f"{part}-labels-idx1-ubyte.gz").read_bytes())
    images = np.frombuffer(pixels, np.uint8, offset=16).reshape(-1, 28, 28, 1)[:count]
    return images, np.frombuffer(labels, np.uint8, offset=8)[:count]


def photographs(path: Path) -> None:
    """Maps of every lens for three images and targets of a trained SqueezeNet, four lenses per row."""
    model = cs.load("torchvision:squeezenet1_1", weights=ASSETS / "models/squeezenet1_1.safetensors")
    block = 3 * (MAP + 4) + GAP
    sheet = Canvas("light", round(2 * MARGIN + COLUMNS * block - GAP))
    results = [(spec, _maps(model, spec)) for spec in cs.lenses() if spec.gives_map]
    for begin in range(0, len(results), COLUMNS):
        for column, (spec, maps) in enumerate(results[begin : begin + COLUMNS]):
            _draw(sheet, MARGIN + column * block, spec, maps)
        sheet.y += 1.5 * SMALL * 2 + MAP + GAP
    Image.fromarray(sheet.to_picture("").pixels).quantize(128).save(path, optimize=True)


def _maps(model: cs.Model, spec: LensSpec) -> Sequence[Attribution] | str:
    """The three maps of a lens, or the error message if it fails."""
    try:
        return [
            getattr(cs, spec.name)(
                model, ASSETS / "photos" / photo, **({"target": target} if spec.takes_target else {})
            )
            for photo, target in PHOTOS
        ]
    except ConvScopeError as error:
        return str(error)


def _draw(sheet: Canvas, x: float, spec: LensSpec, maps: Sequence[Attribution] | str) -> None:
    class_insensitive = "class contrast" in spec.fails or "class-sensitive" in spec.fails
    sheet.text(x, sheet.y, spec.title, size=SMALL, bold=True)
    sheet.text(
        x,
        sheet.y + 1.4 * SMALL,
        "hardly depends on the class" if class_insensitive else "",
        size=SMALL,
        colour=sheet.theme.faint,
    )
    if isinstance(maps, str):
        sheet.text(x, sheet.y + 3 * SMALL, maps, size=SMALL, colour=sheet.theme.faint, width=3 * MAP)
        return
    for column, attribution in enumerate(maps):
        pixels = raster.map_pixels(map_values(attribution), scale_of([attribution]))
        small = Image.fromarray(pixels).resize((MAP, MAP), Image.Resampling.BOX)
        sheet.image(x + column * (MAP + 4), sheet.y + 3 * SMALL, np.asarray(small))


if __name__ == "__main__":
    main()
