from convscope.engine.inputs.specs import Images
from convscope.engine.network.model import Model
from convscope.engine.rules.modified_gradients import deconvnet as deconvnet_rule
from convscope.engine.targets.target import TOP1, Target
from convscope.lens.backward._rules import OnMissing, gradient_values
from convscope.runtime.declaration import lens
from convscope.values import Attribution


@lens(
    family="backward",
    title="DeconvNet",
    cite="zeiler2014visualizing",
    asks="Which pattern in the image does this answer project back to?",
    reads="Structures that the network's kernels reconstruct; they are almost the same for every class and do not "
    "explain this answer.",
    needs={"gradients", "operations"},
    claims={"deterministic"},
    fails={
        "class contrast": "reconstructs what the network detects, whatever the class",
        "completeness": "not a decomposition of the score",
    },
)
def deconvnet(
    model: Model, image: Images, *, target: Target = TOP1, on_missing: OnMissing = "error"
) -> list[Attribution]:
    """Propagate the score back through the transposed network, applying each rectifier to the gradient.

        G_x = max(G_y, 0)    at a rectifier y = g(x), independently of x;    S = Σ_channels G

    Max pooling passes the gradient to the position of the maximum (the "switches"). Without pooling the result
    contains little of the image.

    Args:
        model: the network.
        image: one image or several.
        target: the score f_c, before softmax; the top class by default.
        on_missing: at an operation without a rule, ``error`` raises an error and ``gradient`` uses its plain gradient,
            which the notes state.

    Returns:
        A signed map of the modified gradient at full resolution, per channel in ``channels``. Only its structure is
        meaningful. ``notes["rules"]`` counts the operations that were treated.

    Raises:
        UnknownName: no such class or label.
        NoRule: an operation has no rule.
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
