"""Values that pictures are drawn of."""

from dataclasses import replace
from typing import Any

import numpy as np
import torch

from convscope.values import Attribution, Comparison, Cost, Detections, Prediction, Record, Segmentation

PHOTO = np.random.default_rng(0).integers(0, 256, (24, 32, 3), dtype=np.uint8)


RECORD = Record(
    lens="grad-cam",
    title="Grad-CAM",
    asks="Which regions made the model give this answer?",
    reads="Warm regions raise the score of the target, cool ones lower it.",
    model={"name": "net", "source": "bundled:net"},
    input="folder/cat.jpg",
    cost=Cost(1, 1, 0.1),
)


def attribution(shape: tuple[int, ...] = (24, 32), **fields: Any) -> Attribution:
    values = torch.randn(shape, generator=torch.Generator().manual_seed(0))
    given = {"values": values, "photo": PHOTO if len(shape) == 2 else None, "target": "cat", "target_index": 3}
    return Attribution(**{**given, "score": 1.5, "record": RECORD, **fields})


def unsigned(**fields: Any) -> Attribution:
    signed = attribution(**fields)
    return replace(signed, values=signed.values.abs(), signed=False)


def prediction(**fields: Any) -> Prediction:
    given = {"labels": ("cat", "dog"), "indices": (3, 4), "confidences": (0.9, 0.1), "scores": (2.0, 0.0)}
    return Prediction(**{**given, "photo": PHOTO, "record": replace(RECORD, title="Prediction"), **fields})


def segmentation(**fields: Any) -> Segmentation:
    classes = np.zeros((12, 16), np.int16)
    classes[2:6, 3:9], classes[8:, 8:] = 3, 11
    given = {
        "labels": ("background", "dog", "cat"),
        "indices": (0, 11, 3),
        "shares": (0.7, 0.17, 0.13),
        "background": 0,
    }
    given |= {"classes": classes, "photo": PHOTO, "record": replace(RECORD, title="Prediction")}
    return Segmentation(**{**given, **fields})


def detections(**fields: Any) -> Detections:
    given = {"labels": ("cat", "dog", "cat"), "indices": (3, 11, 3), "scores": (0.9, 0.8, 0.6), "total": 7}
    given |= {"boxes": ((2, 3, 12, 20), (10, 0, 40, 9), (0, 20, 4, 24)), "photo": PHOTO}
    return Detections(**{**given, "record": replace(RECORD, title="Prediction"), **fields})


VALUES = {
    "signed": attribution(),
    "unsigned": unsigned(),
    "no photo": attribution(photo=None),
    "empty photo": attribution(photo=np.zeros((0, 0, 3), np.uint8)),
    "signal": attribution((40,)),
    "signal with input": unsigned(shape=(40,), photo=np.random.default_rng(1).normal(size=(2, 40))),
    "volume": attribution((5, 6, 7)),
    "volume with input": attribution((5, 6, 7), photo=np.random.default_rng(1).normal(size=(1, 5, 6, 7))),
    "prediction": prediction(),
    "segmentation": segmentation(),
    "segmentation of no image": segmentation(photo=None),
    "segmentation of a signal": segmentation(classes=np.zeros(40, np.int16), photo=None),
    "detections": detections(),
    "no detection": detections(labels=(), indices=(), scores=(), boxes=(), total=0),
    "comparison": Comparison(rows=((attribution(), unsigned()), (attribution(), unsigned()))),
    "comparison of volumes": Comparison(rows=((attribution((5, 6, 7)),),)),
}


def rgb(colour: str) -> tuple[int, ...]:
    return tuple(int(colour[i : i + 2], 16) for i in (1, 3, 5))
