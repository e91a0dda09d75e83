from convscope.engine.inputs.specs import Images
from convscope.engine.network.model import Model
from convscope.engine.rules.modified_gradients import deconvnet as deconvnet_rule
from convscope.engine.targets.target import TOP1, Aim
from convscope.lens.backward._rules import OnMissing, gradient_values
from convscope.runtime.declaration import lens
from convscope.values import Attribution


@lens(
    family="backward",
    title="DeconvNet",
    cite="zeiler2014visualizing",
    asks="Which pattern in the image would this answer be drawn back into?",
    reads="Structures that the network's kernels paint back; they are much the same for every class and do not say "
    "why this answer.",
    needs={"gradients", "operations"},
    claims={"deterministic"},
    fails={
        "class contrast": "paints back whatever the network sees",
        "completeness": "not a decomposition of the score",
    },
)
def deconvnet(model: Model, image: Images, *, target: Aim = TOP1, on_missing: OnMissing = "error") -> list[Attribution]:
    """Send the score back through the transposed network, with each rectifier applied to what flows back.

        G_x = max(G_y, 0)    at a rectifier y = g(x), whatever x was;    S = Σ_channels G

    Max pooling sends back to the place of the maximum (the "switches"). Without pooling little of the image is left
    in the result.

    Args:
        model: the network.
        image: one image or several.
        target: the score f_c, before softmax; the top class by default.
        on_missing: at an operation without a rule, ``error`` refuses and ``gradient`` goes on and says so.

    Returns:
        A signed map of the modified gradient at full resolution, per channel in ``channels``. Only its structure means
        something. ``notes["rules"]`` counts the operations that were treated.

    Raises:
        UnknownName: no such class or label.
        NoRule: an operation that no rule is known for.
        LayerError: a part of the network is traced or scripted.
        NoGradient: the score does not depend on the input.

    Differs from the paper: batch norm, residual sums and other operations the paper's network did not have keep
    their gradient; every rectifying activation is treated, not only ReLU.

    Example:
        >>> import convscope as cs
        >>> a = cs.deconvnet(cs.load("bundled:shapes"), "sample:shapes/7")
        >>> a.notes["rules"]
        {'relu: deconvnet': 13}

    Source: :cite:`zeiler2014visualizing`, section 2.1.
    """
    return gradient_values(model, image, target, deconvnet_rule(), on_missing)
