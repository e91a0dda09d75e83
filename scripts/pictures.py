"""Make the pictures of the README and the gallery by running what they show: ``make pictures``."""

from pathlib import Path

import convscope as cs

PICTURES = Path(__file__).parents[1] / "docs/pictures"
SCENES = ["sample:shapes/33", "sample:shapes/12"]


def main() -> None:
    """Write every picture."""
    PICTURES.mkdir(exist_ok=True)
    model = cs.load("bundled:shapes")
    maps = [spec.command for spec in cs.lenses() if spec.returns == "Attribution"]
    cs.compare(model, SCENES, ["grad-cam", "layer-cam", "smooth-grad", "integrated-gradients"]).save(
        PICTURES / "compare.png"
    )
    cs.compare(model, SCENES, maps).save(PICTURES / "all.png")
    cs.grad_cam(model, SCENES[0]).save(PICTURES / "grad-cam.png")
    cs.integrated_gradients(model, SCENES[0]).save(PICTURES / "integrated-gradients.png")
    cs.integrated_gradients(model, SCENES[0], target="star - triangle").save(PICTURES / "difference.png")
    cs.predict(model, SCENES[0]).save(PICTURES / "predict.png")
    cs.grad_cam(cs.load("bundled:shapes?weights=none"), SCENES[0]).save(PICTURES / "random.png")
    for path in PICTURES.glob("*.png"):
        print(f"{path.name}: {path.stat().st_size // 1024} kB")


if __name__ == "__main__":
    main()
