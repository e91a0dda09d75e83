"""The checks for random networks, by family of lenses."""

from tests.fuzz.checks import activations, gradients, maps, perturbation, rules, structure, whole
from tests.fuzz.comparing import Check

CHECKS: dict[str, Check] = {
    "prediction": whole.prediction,
    "independence": whole.independence,
    "default layer": whole.default_layer,
    "gradients": gradients.gradients,
    "paths": gradients.paths,
    "maps": maps.formulas,
    "maps by scores": maps.by_scores,
    "occlusion": perturbation.occlusion,
    "parts": perturbation.parts,
    "masks": perturbation.masks,
    "modified gradients": rules.modified_gradients,
    "relevance": rules.relevance,
    "references": rules.references,
    "spellings": rules.spellings,
    "activations": activations.activations,
    "inputs": activations.inputs,
    "steps": activations.steps,
    "structure": structure.structure,
    "fields": structure.fields,
}
