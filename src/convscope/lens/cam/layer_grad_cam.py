from convscope.engine.inputs.specs import Images
from convscope.engine.layers.addresses import LAST_SPATIAL, Layers
from convscope.engine.layers.layer_trace import layout_of
from convscope.engine.network.model import Model
from convscope.engine.targets.target import TOP1, Target
from convscope.lens.cam._maps import mean_over_space
from convscope.runtime.declaration import lens
from convscope.runtime.unit_attribution import at_images, layer_attributions, one_layer
from convscope.values import LayerAttribution


@lens(
    family="cam",
    title="Grad-CAM per channel",
    cite="selvaraju2017gradcam",
    asks="How much did each channel of a layer contribute to Grad-CAM's map?",
    reads="Channels to the right raise the map, those to the left lower it; the map is their sum, as coarse as the "
    "layer.",
    needs={"gradients"},
    claims={"class-sensitive", "deterministic", "contrasting"},
    fails={"completeness": "pools gradients over space"},
)
def layer_grad_cam(
    model: Model, image: Images, *, target: Target = TOP1, layer: Layers = LAST_SPATIAL
) -> list[LayerAttribution]:
    """Weight each channel of a layer by its mean gradient, without summing the channels.

        w_k = mean over positions of ∂f_c/∂A_k,    S_k = w_k · A_k

    Args:
        model: the network.
        image: one image or several.
        target: the score f_c, before softmax; the top class by default.
        layer: one layer; the last with spatial extent by default. ``conv2:input`` is the input of ``conv2``,
            ``lstm:output1`` the second output of ``lstm``.

    Returns:
        One signed number per channel and position, in score units × activation; their sum over channels is the map of
        ``grad_cam`` before it is enlarged.

    Raises:
        UnknownName: no such layer, class or label.
        LayerError: the layer never runs, or the layout of its output cannot be determined.
        ParameterError: several layers are given.
        NoGradient: the score does not depend on the layer.

    Differs from the paper: no ReLU, and no sum over channels.

    Example:
        >>> import convscope as cs
        >>> a = cs.layer_grad_cam(cs.load("bundled:shapes"), "sample:shapes/7")
        >>> tuple(a.values.shape), a.layer
        ((96, 12, 12), 'layer3')

    Source: :cite:`selvaraju2017gradcam`, equations 1 and 2.
    """
    address = one_layer(layer)
    activation, gradient = at_images(model, image, target, address)
    layout = layout_of(model, address, image.tensor)
    units = layout.units_by_image(gradient)
    weights = mean_over_space(units).flatten(1) if units.ndim > 2 else units
    contributions = layout.channels_by_image(weights, activation) * activation
    return layer_attributions(model, image, target, address, contributions)
