"""The frozen results that every lens hands back and every surface shows; one kind a file, shared by many lenses."""

from convscope.values.attribution import Attribution
from convscope.values.base import Cost, Record, Value, drawn_by, writable
from convscope.values.comparison import Comparison, measured_by
from convscope.values.distribution import Distribution, Spread
from convscope.values.exemplars import Excited, Exemplar, Exemplars
from convscope.values.folded import Folded, Node
from convscope.values.pictures import Pictures
from convscope.values.prediction import Prediction
from convscope.values.receptive_field import ReceptiveField
from convscope.values.recommendation import Advice, Recommendation
from convscope.values.structure import Module, Operation, Structure

__all__ = [
    "Advice",
    "Attribution",
    "Comparison",
    "Cost",
    "Folded",
    "Module",
    "Node",
    "Operation",
    "Distribution",
    "Excited",
    "Exemplar",
    "Exemplars",
    "Pictures",
    "Prediction",
    "ReceptiveField",
    "Recommendation",
    "Record",
    "Structure",
    "Spread",
    "Value",
    "drawn_by",
    "measured_by",
    "writable",
]
