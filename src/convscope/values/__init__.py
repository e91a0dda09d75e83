"""The frozen results that every lens hands back and every surface shows; one kind a file, shared by many lenses."""

from convscope.values.arithmetic import Arithmetic, Step
from convscope.values.attribution import Attribution
from convscope.values.base import Cost, Record, Value, drawn_by
from convscope.values.comparison import Comparison, measured_by
from convscope.values.distribution import Distribution, Spread
from convscope.values.exemplars import Excited, Exemplar, Exemplars
from convscope.values.feature_maps import FeatureMaps
from convscope.values.files import writable, written_whole
from convscope.values.graph_view import Folded, Node
from convscope.values.input_kinds import KINDS, worded
from convscope.values.kernels import KernelLayer, Kernels
from convscope.values.layer_attribution import LayerAttribution
from convscope.values.pictures import Pictures
from convscope.values.prediction import Prediction
from convscope.values.receptive_field import ReceptiveField
from convscope.values.recommendation import Advice, Recommendation
from convscope.values.structure import Module, Operation, Span, Structure

__all__ = [
    "KINDS",
    "Advice",
    "Arithmetic",
    "Attribution",
    "Comparison",
    "Cost",
    "Distribution",
    "Excited",
    "Exemplar",
    "Exemplars",
    "FeatureMaps",
    "Folded",
    "KernelLayer",
    "Kernels",
    "LayerAttribution",
    "Module",
    "Node",
    "Operation",
    "Pictures",
    "Prediction",
    "ReceptiveField",
    "Recommendation",
    "Record",
    "Spread",
    "Step",
    "Span",
    "Structure",
    "Value",
    "drawn_by",
    "measured_by",
    "worded",
    "writable",
    "written_whole",
]
