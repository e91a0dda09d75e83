"""Layers that change nothing once a network is trained: dropout, noise, regularization, random augmentation."""

from torch import nn

from convscope.loaders.keras.translation import LayerContext, translates

_KINDS = (
    "Dropout", "SpatialDropout1D", "SpatialDropout2D", "SpatialDropout3D", "AlphaDropout", "GaussianDropout",
    "GaussianNoise", "ActivityRegularization", "StochasticDepth", "Identity", "InputLayer", "FixedDropout",
    "RandomFlip", "RandomRotation", "RandomZoom", "RandomContrast", "RandomBrightness", "RandomTranslation",
    "RandomHeight", "RandomWidth", "RandomShear", "RandomHue", "RandomSaturation", "RandomColorJitter",
    "RandomColorDegeneration", "RandomErasing", "RandomGaussianBlur", "RandomGrayscale", "RandomInvert",
    "RandomPerspective", "RandomPosterization", "RandomSharpness", "RandomElasticTransform", "AugMix", "CutMix",
    "MixUp", "RandAugment", "Equalization", "Solarization",
)  # fmt: skip


@translates(*_KINDS)
def identity(context: LayerContext) -> nn.Module:
    """The input itself: what is random in training is left out afterwards."""
    return nn.Identity()
