"""From the parts of a Keras file to a `Model`: translation, input, remarks, and the check against Keras itself."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Any

from convscope.errors import LoadError
from convscope.loaders.keras import engine
from convscope.loaders.keras.checking import agrees_on_one_sample, check_against_keras, random_samples
from convscope.loaders.keras.config import Network
from convscope.loaders.keras.inputs import example_shape, input_specification
from convscope.loaders.keras.layout import Layout
from convscope.loaders.keras.network import is_channels_first, translate_network
from convscope.loaders.keras.several_inputs import (
    check_joint_inputs,
    example_shapes,
    joint_specification,
    require_explainable,
)
from convscope.loaders.keras.shape_check import bounded_outputs, check_shapes
from convscope.loaders.keras.translation import Untranslatable
from convscope.loaders.keras.weights import LayerWeights

if TYPE_CHECKING:
    from convscope.engine.inputs.specs import InputSpec
    from convscope.engine.network.model import Model
    from convscope.engine.network.scores_only import ScoresOnly


@dataclass(frozen=True)
class Parts:
    """What a file says about a network.

    Attributes:
        source: the address that opens it again.
        config: the configuration as it was read, from which Keras can build the network.
        keras_model: opens the file in Keras; None where it is built from ``config``.
        for_one_sample: opens it in Keras in less time, for one sample at a time; None where nothing does.
        trust: whether code in the file may run.
        caveats: said instead of what a file leaves open about its input; None for a file.
    """

    network: Network
    weights: LayerWeights
    keras_version: str
    name: str
    source: str
    config: Any = None
    keras_model: Callable[[], Any] | None = None
    for_one_sample: Callable[[], Any] | None = None
    trust: bool = False
    caveats: tuple[str, ...] | None = None

    def open_in_keras(self) -> Any:
        """The network as Keras opens it.

        Raises:
            LoadError: it does not.
        """
        if self.keras_model is not None:
            engine.require_own_packages(self.config)
            return self.keras_model()
        return engine.build(self.config, self.weights, self.network, trust=self.trust)

    def after_translation(self) -> "Parts":
        """The same without the arrays, where Keras has no use for them."""
        return self if self.keras_model is None else replace(self, weights=LayerWeights())

    @property
    def keras_major(self) -> int:
        """The major version of the Keras that wrote the file."""
        first = self.keras_version.partition(".")[0]
        return int(first) if first.isdecimal() else 2

    @property
    def layout(self) -> Layout:
        """Where the axes of Keras are."""
        return Layout(channels_first=is_channels_first(self.network))


def build_model(parts: Parts) -> "Model":
    """The `Model` of a network; one that cannot be translated is run by Keras, where it is installed.

    Raises:
        LoadError: the network cannot be opened; the message names the first layer that is at fault.
    """
    from convscope.engine.inputs.specs import TensorInput
    from convscope.engine.inputs.token_input import TokenInput
    from convscope.engine.network.model import Model

    if len(parts.network.inputs) > 1:
        return _with_several_inputs(parts)
    specification, assumed = input_specification(parts.network, parts.layout)
    assumed = assumed if parts.caveats is None else parts.caveats
    shape, is_declared = example_shape(parts.network, parts.layout)
    module: Any
    try:
        module, remarks = translate_network(
            parts.network, parts.weights, keras_major=parts.keras_major, trust=parts.trust
        )
        parts = parts.after_translation()
        agrees = _run_bounded(module, parts, specification, shape) if is_declared else None
    except Untranslatable as error:
        module = _through_keras(parts, error)
        if isinstance(specification, TokenInput):  # its scores alone show no embedding, at which tokens are explained
            specification = TensorInput()
        return Model(module, input=specification, name=parts.name, source=parts.source, caveats=assumed)
    caveats = (*assumed, *remarks)
    model = Model(module, input=specification, name=parts.name, source=parts.source, caveats=caveats)
    if isinstance(specification, TokenInput):
        _check_joint_inputs(model, parts)
    elif shape:
        major = parts.keras_major
        check_against_keras(model, parts.network, shape, parts.open_in_keras, keras_major=major, agrees=agrees)
    return model


def _run_bounded(
    module: Any, parts: Parts, specification: "InputSpec", shape: tuple[int, ...]
) -> Callable[["Model", Any], bool] | None:
    """Run a translated network for the first time; a comparison with Keras of what it gave, where that is possible.

    Raises:
        LoadError: a layer does not accept what the one before it gives, or gives more than fits in memory.
    """
    original = parts.for_one_sample
    inputs = random_samples(specification, parts.network, shape)
    outputs = None if original is None else bounded_outputs(module, inputs)
    if original is None or outputs is None:
        check_shapes(module, (1, *shape))
        return None
    return partial(agrees_on_one_sample, original=original, inputs=inputs, outputs=outputs, layout=parts.layout)


def _with_several_inputs(parts: Parts) -> "Model":
    """The `Model` of a network that takes several inputs, by the names of its input layers.

    Raises:
        LoadError: the network cannot be opened.
    """
    from convscope.engine.network.model import Model

    specification, assumed = joint_specification(parts.network, parts.layout)
    assumed = assumed if parts.caveats is None else parts.caveats
    inputs: Any = specification.specs
    try:
        module, remarks = translate_network(
            parts.network, parts.weights, keras_major=parts.keras_major, trust=parts.trust
        )
        shapes = example_shapes(parts.network, parts.layout)
        if all(is_declared for _, is_declared in shapes):
            check_shapes(module, *[(1, *shape) for shape, _ in shapes])
    except Untranslatable as error:
        require_explainable(specification, error)
        scores = _through_keras(parts, error)
        return Model(scores, inputs=inputs, name=parts.name, source=parts.source, caveats=assumed)
    model = Model(module, inputs=inputs, name=parts.name, source=parts.source, caveats=(*assumed, *remarks))
    _check_joint_inputs(model, parts)
    return model


def _check_joint_inputs(model: "Model", parts: Parts) -> None:
    """Compare a translated network of several inputs, or of tokens, with Keras."""
    keras, version = engine.library(), parts.keras_major
    check_joint_inputs(model, parts.network, parts.open_in_keras, keras=keras, keras_major=version)


def _through_keras(parts: Parts, error: Untranslatable) -> "ScoresOnly":
    """A network as a function that Keras computes.

    Raises:
        Untranslatable: Keras is not installed.
        LoadError: Keras cannot open the network either.
    """
    from convscope.engine.network.scores_only import ScoresOnly

    if engine.library() is None:
        raise Untranslatable(
            f"{error} (where Keras is installed, such a network opens with its scores alone)"
        ) from error
    try:
        model = parts.open_in_keras()
    except LoadError as refusal:
        if "holds code" in str(error) and not parts.trust:
            raise LoadError(f"{error}; trust=True runs it: only for files of your own") from error
        raise LoadError(f"{error}; {refusal}") from error
    return ScoresOnly(engine.KerasFunction(model, parts.layout), reason=str(error))
