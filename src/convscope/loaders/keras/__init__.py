"""Keras networks as torch modules: files of Keras 2 and 3, TensorFlow.js, ``keras:NAME``, models in memory.

A configuration (config.py, calls.py) and weights by layer (weights.py, from archive.py, legacy_hdf5.py, tfjs.py or
live.py) become a module (network.py, graph.py) of translated layers (translation.py, layers/). Keras itself only checks
the result and runs what has no translation (engine.py, checking.py).
"""

from convscope.loaders.keras import applications, formats  # noqa: F401 - declare a loader and file formats
