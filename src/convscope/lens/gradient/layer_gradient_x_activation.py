from convscope.engine.inputs.specs import Images
from convscope.engine.layers.addresses import LAST_SPATIAL, Layers
from convscope.engine.network.model import Model
from convscope.engine.targets.target import TOP1, Target
from convscope.runtime.declaration import lens
from convscope.runtime.unit_attribution import at_images, layer_attributions, one_layer
from convscope.values import LayerAttribution


@lens(
    family="gradient",
    title="Layer gradient × activation",
    cite="ancona2018towards",
    asks="How much does each unit of a layer contribute to the score in a linear approximation?",
    reads="Units to the right raise the score relative to an activation of zero, those to the left lower it; exact if "
    "the network is linear after the layer.",
    needs={"gradients"},
    claims={"class-sensitive", "deterministic", "contrasting"},
    fails={"completeness": "holds only if the network is linear after the layer"},
)
def layer_gradient_x_activation(
    model: Model, image: Images, *, target: Target = TOP1, layer: Layers = LAST_SPATIAL
) -> list[LayerAttribution]:
    """Multiply each unit of a layer by the gradient of the score with respect to it.

        S_k = A_k ⊙ ∂f_c/∂A_k

    Args:
        model: the network.
        image: one image or several.
        target: the score f_c, before softmax; the top class by default.
        layer: one layer; by default the last one with spatial extent. ``conv2:input`` is the input of ``conv2``,
            ``lstm:output1`` the second output of ``lstm``.

    Returns:
        A signed number per unit and position, in score units.

    Raises:
        UnknownName: no such layer, class or label.
        LayerError: the layer is not reached, or the layout of its output cannot be determined.
        ParameterError: several layers are given.
        NoGradient: the score does not depend on the layer.

    Example:
        >>> import convscope as cs
        >>> a = cs.layer_gradient_x_activation(cs.load("bundled:shapes"), "sample:shapes/7", layer="layer3")
        >>> tuple(a.values.shape), len(a.units)
        ((96, 12, 12), 96)

    Source: :cite:`ancona2018towards`, section 3.1, applied to the layer's output instead of the input.
    """
    address = one_layer(layer)
    activation, gradient = at_images(model, image, target, address)
    return layer_attributions(model, image, target, address, activation * gradient)
