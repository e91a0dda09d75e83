"""Values that pictures are drawn of."""

from dataclasses import replace
from typing import Any

import numpy as np
import torch

from convscope.values import Attribution, Comparison, Cost, Prediction, Record

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
    "comparison": Comparison(rows=((attribution(), unsigned()), (attribution(), unsigned()))),
    "comparison of volumes": Comparison(rows=((attribution((5, 6, 7)),),)),
}


def rgb(colour: str) -> tuple[int, ...]:
    return tuple(int(colour[i : i + 2], 16) for i in (1, 3, 5))
