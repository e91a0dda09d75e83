"""Images whose label contradicts what the other images of the classes look like to the network."""

from functools import partial

import torch
from torch import Tensor

from convscope.render.rendered_picture import Picture
from convscope.training.checks.declaration import Evidenced, check
from convscope.training.checks.network_evidence import NetworkEvidence
from convscope.training.checks.network_pictures import Cell, draw_prepared
from convscope.values.facts import Fact

FEWEST, FEWEST_PER_CLASS = 20, 4
MARGIN, TYPICAL, MOST, LEAST_ACCURACY = 0.5, 0.8, 0.25, 0.6


@check(
    "network",
    title="labels that are probably wrong",
    looks_for="A linear classifier on the network's features that has not seen the image gives another class a higher "
    "score than 80 % of what images of that class have on average, and by 0.5 more than its own (confident learning); "
    "fewer than a quarter of the images are like that, and the classifier is right on 60 % of the images.",
    cause="a mistake of who labelled the images, or a file in the wrong folder",
    remedy="shutil.move(path, right_folder / path.name)  # after a look at each",
    severity="note",
)
def wrong_labels(network: NetworkEvidence) -> list[Evidenced]:
    """Score every image by a classifier that was fitted without it, and compare with thresholds of the classes."""
    rows = [row for row, index in enumerate(network.classes) if index is not None]
    if len(rows) < FEWEST or network.features is None:
        return []
    known = torch.tensor([network.classes[row] for row in rows], dtype=torch.int64, device="cpu")
    names = sorted(set(known.tolist()))
    classes = torch.tensor([names.index(index) for index in known.tolist()], dtype=torch.int64, device="cpu")
    if len(names) < 2 or int(torch.bincount(classes).min()) < FEWEST_PER_CLASS:
        return []
    scores = out_of_sample_scores(network.features[rows], classes, len(names))
    if float((scores.argmax(1) == classes).double().mean()) < LEAST_ACCURACY:
        return []
    own = scores.gather(1, classes[:, None])[:, 0]
    thresholds = torch.stack([own[classes == index].mean() for index in range(len(names))])
    others = scores.scatter(1, classes[:, None], -torch.inf)
    suggested = others.argmax(1)
    best = others.amax(1)
    suspects = ((best >= TYPICAL * thresholds[suggested]) & (best - own >= MARGIN)).nonzero()[:, 0].tolist()
    if not suspects or len(suspects) >= MOST * len(rows):
        return []
    suspects.sort(key=lambda index: float(own[index] - best[index]))
    labelled = {
        rows[index]: (network.class_name(int(known[index])), network.class_name(names[int(suggested[index])]))
        for index in suspects
    }
    examples = [
        Fact(
            "{name} (labelled '{label}', looks like '{class_name}')",
            name=network.names[row], label=label, class_name=class_name,
        )
        for row, (label, class_name) in list(labelled.items())[:3]
    ]  # fmt: skip
    evidence = Fact("{count} of {images} images: {examples}", count=len(suspects), images=len(rows), examples=examples)
    return [("", evidence, partial(_draw, network, labelled))]


def out_of_sample_scores(features: Tensor, classes: Tensor, count: int) -> Tensor:
    """The scores (N, count) of a ridge regression on class indicators, of each image without its own part in the fit.

    What leaving out one image changes has a closed form: the residual divided by one minus the leverage.
    """
    centred = features.double() - features.double().mean(0)
    centred = centred / centred.std().clamp_min(1e-12)
    kernel = centred @ centred.T / centred.shape[1]
    penalty = 0.1 * kernel.diagonal().mean().clamp_min(1e-12)
    eye = torch.eye(len(kernel), dtype=torch.float64, device="cpu")
    hat = torch.linalg.solve(kernel + penalty * eye, kernel) + 1 / len(kernel)
    indicators = torch.nn.functional.one_hot(classes, count).double()
    share = indicators.mean(0)
    fitted = hat @ (indicators - share)
    leverage = hat.diagonal().clamp_max(1 - 1e-6)[:, None]
    scores: Tensor = share + (fitted - leverage * (indicators - share)) / (1 - leverage)
    return scores


def _draw(network: NetworkEvidence, labelled: dict[int, tuple[str, str]]) -> Picture:
    """The images with their labels and the classes that they look like."""
    cells: list[Cell] = [
        ([network.tensor[row]], [network.names[row], f"label {label}", f"looks like {class_name}"])
        for row, (label, class_name) in labelled.items()
    ]
    return draw_prepared(network, cells, title="labels that are probably wrong, the least likely first")
