import torch

from convscope.engine.inputs.specs import Images
from convscope.engine.layers.addresses import LAST_SPATIAL, Layers
from convscope.engine.network.model import Model
from convscope.engine.run.gradients import layer_evidence
from convscope.engine.run.perturbed_samples import Samples, Seed, Sigma, layer_gradient_moments, noisy
from convscope.engine.targets.target import TOP1, Target
from convscope.lens.cam._maps import over_space
from convscope.runtime.declaration import lens
from convscope.runtime.layer_maps import ONE_WEIGHT_PER_CHANNEL, Relu, maps_to_values
from convscope.values import Attribution


@lens(
    family="cam",
    title="Smooth Grad-CAM++",
    cite="omeiza2019smooth",
    asks="Which regions made the model give this answer, averaged over small changes of the image?",
    reads="Warm regions raise the score, also when noise is added to the image; where the layer has no negative "
    "activations, no weight is negative.",
    needs={"gradients"},
    claims={"class-sensitive", "deterministic"},
    fails={
        "place": ONE_WEIGHT_PER_CHANNEL,
        "class contrast": "after a rectifier no weight is negative, so active channels count for every class",
        "completeness": "weights gradients by their own powers",
    },
)
def smooth_grad_cam_plus_plus(
    model: Model,
    image: Images,
    *,
    target: Target = TOP1,
    layer: Layers = LAST_SPATIAL,
    samples: Samples = 8,
    sigma: Sigma = 0.1,
    seed: Seed = 0,
    relu: Relu = False,
) -> list[Attribution]:
    """Compute the weights of Grad-CAM++ from derivatives averaged over noisy copies of the image.

        α_k = mean(g²) / (2·mean(g²) + Σ A_k · mean(g³)),   w_k = Σ positions α_k · relu(mean(g)),   L = Σ_k w_k · A_k

    The means are over copies x + ε, ε ~ N(0, (sigma · range(x))²); A_k is that of the clean image.

    Args:
        model: the network.
        image: one image or several.
        target: the score f_c, before softmax; the top class by default.
        layer: one layer or several, whose maps are each divided by their peak and averaged; the last layer with spatial
            extent by default.
        samples: noisy copies per image.
        sigma: standard deviation of the noise, as a fraction of the image's range; 0 gives Grad-CAM++.
        seed: seed of the noise.
        relu: keep only positive evidence.

    Returns:
        A map at the layer's resolution, enlarged bilinearly. If the layer has no negative activations, as after a
        ReLU, neither the weights nor the map are negative; otherwise α_k can be, and its channel counts with reversed
        sign.

    Raises:
        UnknownName: no such layer, class or label.
        LayerError: the layer never runs or has no spatial extent.
        NoGradient: the score does not depend on the layer.

    Differs from the paper: its equation 9 has the first derivative in the numerator of α, which does not reduce to
    Grad-CAM++ without noise; here it is the second. Powers of the gradient replace higher derivatives, as in
    ``grad-cam-plus-plus``. The final ReLU is off by default.

    Example:
        >>> import convscope as cs
        >>> a = cs.smooth_grad_cam_plus_plus(cs.load("bundled:shapes"), "sample:shapes/7")
        >>> a.layers
        ('layer3',)

    Source: :cite:`omeiza2019smooth`, equations 7 to 10.
    """
    clean = layer_evidence(model, image, target, layer)
    draw = noisy(image, sigma=sigma, seed=seed)
    moments = layer_gradient_moments(model, image, target, layer, draw, samples, powers=(1, 2, 3))
    layer_values = {}
    for address, (first, second, third) in moments.items():
        a = clean[address].activation
        denominator = 2 * second + over_space(a) * third
        alpha = torch.where((second != 0) & (denominator != 0), second / denominator, 0.0)
        layer_values[address] = (over_space(alpha * torch.relu(first)) * a).sum(1)
    return maps_to_values(model, image, target, layer_values, relu=relu)
