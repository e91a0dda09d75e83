"""The frozen results that lenses return and every interface displays; one class of values per file."""

from convscope.values.arithmetic import Arithmetic, ArithmeticStep
from convscope.values.attention_heads import AttentionHeads
from convscope.values.attention_maps import AttentionMaps
from convscope.values.attribution import Attribution
from convscope.values.backends import Renderer, SimilarityMeasures, register_backends
from convscope.values.base import Cost, Record, Value
from convscope.values.comparison import Comparison
from convscope.values.detections import Detections
from convscope.values.distribution import Distribution, LayerStatistics
from convscope.values.exemplars import Exemplar, Exemplars, UnitExemplars
from convscope.values.facts import Fact
from convscope.values.feature_maps import FeatureMaps
from convscope.values.files import atomic_write, check_writable
from convscope.values.gate_maps import GateMaps
from convscope.values.graph_view import FoldedGraph, Node
from convscope.values.input_kinds import INPUT_KINDS, adapt_wording
from convscope.values.joint_attribution import JointAttribution
from convscope.values.kernels import KernelLayer, Kernels
from convscope.values.layer_attribution import LayerAttribution
from convscope.values.pictures import Pictures
from convscope.values.prediction import Prediction
from convscope.values.receptive_field import ReceptiveField
from convscope.values.recommendation import Advice, Recommendation
from convscope.values.segmentation import Segmentation
from convscope.values.structure import Structure
from convscope.values.structure_parts import Component, ModuleSummary, OperationSummary, Span

__all__ = [
    "INPUT_KINDS",
    "Advice",
    "Arithmetic",
    "ArithmeticStep",
    "AttentionHeads",
    "AttentionMaps",
    "Attribution",
    "Comparison",
    "Component",
    "Cost",
    "Detections",
    "Distribution",
    "Exemplar",
    "Exemplars",
    "Fact",
    "FeatureMaps",
    "FoldedGraph",
    "GateMaps",
    "JointAttribution",
    "KernelLayer",
    "Kernels",
    "LayerAttribution",
    "LayerStatistics",
    "ModuleSummary",
    "Node",
    "OperationSummary",
    "Pictures",
    "Prediction",
    "ReceptiveField",
    "Recommendation",
    "Record",
    "Renderer",
    "Segmentation",
    "SimilarityMeasures",
    "Span",
    "Structure",
    "UnitExemplars",
    "Value",
    "adapt_wording",
    "atomic_write",
    "check_writable",
    "register_backends",
]
