"""Where each public name lives. Lenses are not listed: a lens is the file of its name under ``lens/``.

Installed packages add lenses by entry points.
"""

import functools
from pathlib import Path

from convscope._extensions import LENSES, entries
from convscope.errors import LoadError

PUBLIC = {
    "Arithmetic": "convscope.values",
    "AttentionHeads": "convscope.values",
    "AttentionMaps": "convscope.values",
    "Attribution": "convscope.values",
    "BandsInput": "convscope.engine.inputs.measured_inputs",
    "Comparison": "convscope.values",
    "ConvScopeError": "convscope.errors",
    "Detections": "convscope.values",
    "Difference": "convscope.engine.targets.target",
    "Distribution": "convscope.values",
    "Exemplars": "convscope.values",
    "FeatureMaps": "convscope.values",
    "GateMaps": "convscope.values",
    "ImageInput": "convscope.engine.inputs.specs",
    "JointAttribution": "convscope.values",
    "Kernels": "convscope.values",
    "LayerAttribution": "convscope.values",
    "Model": "convscope.engine.network.model",
    "Pictures": "convscope.values",
    "Prediction": "convscope.values",
    "Region": "convscope.engine.targets.target",
    "Segmentation": "convscope.values",
    "SignalInput": "convscope.engine.inputs.measured_inputs",
    "Smooth": "convscope.runtime.smoothing",
    "TOP1": "convscope.engine.targets.target",
    "TableInput": "convscope.engine.inputs.table_input",
    "TensorInput": "convscope.engine.inputs.specs",
    "TokenInput": "convscope.engine.inputs.token_input",
    "Unit": "convscope.engine.targets.target",
    "Value": "convscope.values",
    "VideoInput": "convscope.engine.inputs.measured_inputs",
    "VolumeInput": "convscope.engine.inputs.measured_inputs",
    "compare": "convscope.catalogue",
    "diagnose": "convscope.training.diagnosis",
    "lenses": "convscope.catalogue",
    "ReceptiveField": "convscope.values",
    "Recommendation": "convscope.values",
    "Structure": "convscope.values",
    "load": "convscope.catalogue",
    "open_log": "convscope.training.run",
    "record": "convscope.training.recorder.recorder",
    "recommend": "convscope.catalogue",
    "report": "convscope.reporting",
    "sample": "convscope.samples",
    "train": "convscope.training.loop.fit",
    "show_progress": "convscope.engine.context.progress_bar",
    "watching": "convscope.engine.context.metering",
}


@functools.cache
def own_lens_modules() -> dict[str, str]:
    """The module of every lens of this package, by its name, read off the folders without importing anything."""
    root = Path(__file__).parent
    files = sorted(root.glob("lens/*/*.py"))
    return {f.stem: f"convscope.lens.{f.parent.name}.{f.stem}" for f in files if not f.stem.startswith("_")}


@functools.cache
def lens_modules() -> dict[str, str]:
    """The module of every lens, by its name: those of this package, and those that installed packages add.

    Raises:
        LoadError: an installed package adds a lens under a name that is taken.
    """
    own = own_lens_modules()
    added = {name: value.partition(":")[0] for name, value in entries(LENSES).items()}
    for name in {*added} & {*own, *PUBLIC}:
        raise LoadError(f"an installed package adds the lens {name!r} ({added[name]}), a name that is taken: rename it")
    return own | added
