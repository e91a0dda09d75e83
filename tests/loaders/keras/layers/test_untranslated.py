"""Every public class of keras.layers has a state: translated, refused with a reason, or no layer of a network."""

from convscope.loaders.keras import network  # noqa: F401 - declares the translators
from convscope.loaders.keras.layers.untranslated import REASONS
from convscope.loaders.keras.translation import translated_kinds

NO_LAYERS = {"Input", "InputSpec", "Layer", "Wrapper"}
"""Functions and base classes."""
WITHIN_RNN = {"GRUCell", "LSTMCell", "SimpleRNNCell", "StackedRNNCells"}
"""Read by the layer RNN, which is given them."""


def test_every_class_of_keras_has_a_state(keras):
    """A class that a release of Keras adds is named here until it has one; aliases go by the name of their class."""
    classes = {name: value.__name__ for name, value in vars(keras.layers).items() if name[0].isupper()}
    known = set(translated_kinds()) | NO_LAYERS | WITHIN_RNN
    assert {name for name, own in classes.items() if not {name, own} & known} == set()


def test_refused_classes_exist_and_say_why(keras):
    assert all(hasattr(keras.layers, kind) for kind in REASONS)
    assert all(len(reason) > 20 for reason in REASONS.values())
