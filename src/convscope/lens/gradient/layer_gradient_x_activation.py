from convscope.engine.inputs.specs import Images
from convscope.engine.layers.addresses import LAST_SPATIAL, Layers
from convscope.engine.network.model import Model
from convscope.engine.targets.target import TOP1, Aim
from convscope.runtime.declaration import lens
from convscope.runtime.unit_attribution import at_images, layer_attributions, one_layer
from convscope.values import LayerAttribution


@lens(
    family="gradient",
    title="Layer gradient × activation",
    cite="ancona2018towards",
    asks="How much does each unit of a layer, as strong as it is, push the score?",
    reads="Units to the right push the score up from where the unit is zero, those to the left push it down; exact "
    "where the network is linear above the layer.",
    needs={"gradients"},
    claims={"class-sensitive", "deterministic", "contrasting"},
    fails={"completeness": "holds where the network is linear above the layer only"},
)
def layer_gradient_x_activation(
    model: Model, image: Images, *, target: Aim = TOP1, layer: Layers = LAST_SPATIAL
) -> list[LayerAttribution]:
    """Multiply each unit of a layer by the gradient of the score to it.

        S_k = A_k ⊙ ∂f_c/∂A_k

    Args:
        model: the network.
        image: one image or several.
        target: the score f_c, before softmax; the top class by default.
        layer: one layer; the last with spatial extent by default. ``conv2:input`` is what goes into ``conv2``,
            ``lstm:output1`` the second tensor that ``lstm`` gives.

    Returns:
        One signed number per unit and position, in score units.

    Raises:
        UnknownName: no such layer, class or label.
        LayerError: the layer is never reached, or how its output lies cannot be known.
        ParameterError: several layers are named.
        NoGradient: the score does not depend on the layer.

    Example:
        >>> import convscope as cs
        >>> a = cs.layer_gradient_x_activation(cs.load("bundled:shapes"), "sample:shapes/7", layer="layer3")
        >>> tuple(a.values.shape), len(a.units)
        ((96, 12, 12), 96)

    Source: :cite:`ancona2018towards`, section 3.1, with the layer's output in the place of the input.
    """
    address = one_layer(layer)
    activation, gradient = at_images(model, image, target, address)
    return layer_attributions(model, image, target, address, activation * gradient)
