"""Layers of Keras that are refused, and why."""

from torch import nn

from convscope.loaders.keras.translation import LayerContext, translates

REASONS = {
    "FlaxLayer": "it runs a module of Flax, whose code is not in the file",
    "JaxLayer": "it runs a function of JAX, whose code is not in the file",
    "TorchModuleWrapper": "it runs a module of torch, whose code is in a pickle: open that module itself",
    "TFSMLayer": "it runs a SavedModel of TensorFlow: open that folder itself",
    "StringLookup": "it looks text up, and no lens explains text",
    "TextVectorization": "it splits text into words, and no lens explains text",
    "Hashing": "it turns categories into numbers by a hash, which no lens explains",
    "HashedCrossing": "it turns pairs of categories into numbers by a hash, which no lens explains",
    "IntegerLookup": "it looks up categories in a table that lies outside of its configuration",
    "MaxNumBoundingBoxes": "it works on boxes and not on images",
    "MelSpectrogram": "it computes a spectrogram: begin the network after it, with the spectrogram as its input",
    "STFTSpectrogram": "it computes a spectrogram: begin the network after it, with the spectrogram as its input",
    "ContrastLimitedAdaptiveHistogramEqualization": "it equalizes histograms of tiles, which has no gradient",
}
"""Why a kind of layer has no translation."""


@translates(*REASONS)
def refused(context: LayerContext) -> nn.Module:
    """Raise `Untranslatable` with the reason."""
    raise context.refuse(REASONS[context.layer.kind])
