"""The frozen results that every lens hands back and every surface shows; one kind a file, shared by many lenses."""

from convscope.values.arithmetic import Arithmetic, Step
from convscope.values.attribution import Attribution
from convscope.values.base import Cost, Record, Value, drawn_by, writable
from convscope.values.comparison import Comparison, measured_by
from convscope.values.feature_maps import FeatureMaps
from convscope.values.kernels import KernelLayer, Kernels
from convscope.values.prediction import Prediction
from convscope.values.recommendation import Advice, Recommendation

__all__ = [
    "Advice",
    "Arithmetic",
    "Attribution",
    "Comparison",
    "Cost",
    "FeatureMaps",
    "KernelLayer",
    "Kernels",
    "Prediction",
    "Recommendation",
    "Record",
    "Step",
    "Value",
    "drawn_by",
    "measured_by",
    "writable",
]
