"""Ordinal regression: ranks in an order, by cumulative scores (output k: whether the rank is above k)."""

from typing import TYPE_CHECKING

import torch
from torch import Tensor

from convscope.engine.network.output_meaning import class_confidences
from convscope.engine.targets.classes import class_axis, class_index
from convscope.engine.targets.task_scorer import TaskScorer
from convscope.engine.targets.tasks.classification import encode_tensor
from convscope.errors import OutputError, UnknownName
from convscope.spec.tasks import Task, task
from convscope.values import Prediction
from convscope.values.facts import Fact

if TYPE_CHECKING:
    from convscope.engine.inputs.specs import Images
    from convscope.engine.network.model import Model

_EXPECTED = "expected rank"
_AT_LEAST = "at least "


def probabilities_above(output: Tensor, model: "Model") -> Tensor:
    """P(rank > k) for each output k (N, ranks - 1)."""
    probabilities = class_confidences(class_axis(output), model.meaning, 0)
    if probabilities is None:
        raise OutputError(
            f"the output of {model.name} holds {model.meaning.describe()}: task='ordinal' takes cumulative scores, of "
            "which the sigmoid of each is the probability that the rank is higher"
        )
    return probabilities


def rank_probabilities(output: Tensor, model: "Model") -> Tensor:
    """The probability of each rank (N, ranks): the difference between the probabilities to be above its neighbours.

    Where those do not fall from rank to rank, each counts as the lowest before it, so that no rank is below zero.
    """
    passed = probabilities_above(output, model).cummin(1).values
    ends = torch.ones_like(passed[:, :1])
    return torch.cat([ends, passed], 1) - torch.cat([passed, 0 * ends], 1)


class RankScorer(TaskScorer):
    """The probability of a rank; for a negative index the expected rank, counted from 0."""

    def __init__(self, indices: Tensor, model: "Model") -> None:
        self.indices, self.model = indices, model

    def __call__(self, output: Tensor, rows: Tensor) -> Tensor:
        """The expected rank, or the probability of the rank."""
        expected = probabilities_above(output, self.model).sum(1)
        indices = self.indices[rows % len(self.indices)].to(expected.device)
        ranks = rank_probabilities(output, self.model)
        if int(indices.max()) >= ranks.shape[1]:
            raise OutputError(f"rank {int(indices.max())} is out of range: the output has {ranks.shape[1]} ranks")
        return torch.where(indices < 0, expected, ranks.gather(1, indices.clamp_min(0)[:, None])[:, 0])

    def describe(self, row: int) -> str:
        """The target as users write it."""
        index = int(self.indices[row % len(self.indices)])
        return _EXPECTED if index < 0 else self.model.label(index)

    def index_of(self, row: int) -> int | None:
        """The rank of one image; None for the expected rank."""
        index = int(self.indices[row % len(self.indices)])
        return None if index < 0 else index


class AtLeast(TaskScorer):
    """The cumulative score of a rank: the network's own output for "this rank or a higher one"."""

    def __init__(self, rank: int, model: "Model") -> None:
        self.rank, self.model = rank, model

    def __call__(self, output: Tensor, rows: Tensor) -> Tensor:
        """The score of the rank or a higher one."""
        scores = class_axis(output)
        if not 0 < self.rank <= scores.shape[1]:
            raise OutputError(
                f"{self.describe(0)!r}: the output tells ranks 1 to {scores.shape[1]} from those below, and every "
                "input has at least the lowest rank, 0"
            )
        return scores[:, self.rank - 1]

    def describe(self, row: int) -> str:
        """The target as users write it."""
        return f"{_AT_LEAST}{self.model.label(self.rank) if self.model.labels else self.rank}"


def _parse(text: str, model: "Model") -> TaskScorer | None:
    words = text.strip()
    if words.lower() == _EXPECTED:
        return RankScorer(torch.full((1,), -1, device="cpu"), model)
    if not words.lower().startswith(_AT_LEAST):
        return None
    name = words[len(_AT_LEAST) :].strip()
    if not name:
        raise UnknownName("'at least' names a rank, as in 'at least 2'")
    return AtLeast(class_index(name, model), model)


def _class_scorer(indices: Tensor, model: "Model") -> RankScorer | None:
    """The scorer of the expected rank; None where every target is a rank, whose probability is a class score."""
    return RankScorer(indices, model) if bool((indices < 0).any()) else None


def _predict(model: "Model", images: "Images", rows: list[int], output: Tensor, top: int) -> list[Prediction]:
    if not bool(torch.isfinite(output).all()):
        raise OutputError("the scores are NaN or infinite: the network overflows on this input")
    passed, ranks = probabilities_above(output, model), rank_probabilities(output, model)
    predictions = []
    for index, row in enumerate(rows):
        best = ranks[index].topk(min(top, ranks.shape[1])).indices.tolist()
        shares = tuple(ranks[index][best].tolist())
        predictions.append(
            Prediction(
                labels=tuple(model.label(i) for i in best),
                indices=tuple(best),
                confidences=shares,
                scores=shares,
                explains_first=False,
                photo=images.photo(row),  # type: ignore[arg-type]
                notes={"output": model.meaning.describe(), **_rank_notes(passed[index], model)},
            )
        )
    return predictions


def _rank_notes(passed: Tensor, model: "Model") -> dict[str, Fact]:
    """The expected rank, the rank by thresholds at one half, and whether the cumulative scores are in order."""
    notes = {
        "rank": Fact(
            "expected {expected} from 0 to {last}; thresholds at one half give {label}",
            expected=f"{float(passed.sum()):.2f}",
            last=len(passed),
            label=model.label(int((passed > 0.5).sum())),
        )
    }
    if bool((passed.diff() > 1e-6).any()):
        notes["order"] = Fact(
            "a rank is scored likelier to be passed than one below it, and counts as likely as that one"
        )
    return notes


task(
    Task(
        name="ordinal",
        title="ordinal regression",
        output="cumulative scores (N, ranks - 1), of which output k says whether the rank is above k",
        recognizes=lambda output, model: False,
        encode=encode_tensor,
        targets={
            "": "the expected rank, counted from 0",
            "at least RANK": "the network's score of that rank or a higher one",
            "RANK": "the probability of a rank, by label or index",
            "A - B": "the probability of one rank minus that of another",
        },
        prefixes=(_AT_LEAST, _EXPECTED),
        hint="at least {label}",
        target_label="Or type a rank, or: at least RANK",
        default_target=_EXPECTED,
        default_question="What raises and lowers the expected rank?",
        parse=_parse,
        class_scorer=_class_scorer,
        class_scores=rank_probabilities,
        labels_for=lambda outputs: outputs + 1,
        predict=_predict,
        meaning="cumulative",
    )
)
