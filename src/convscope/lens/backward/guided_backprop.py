from convscope.engine.inputs.specs import Images
from convscope.engine.network.model import Model
from convscope.engine.rules.modified_gradients import guided
from convscope.engine.targets.target import TOP1, Target
from convscope.lens.backward._rules import OnMissing, gradient_values
from convscope.runtime.declaration import lens
from convscope.values import Attribution


@lens(
    family="backward",
    title="Guided backpropagation",
    cite="springenberg2015striving",
    asks="Which fine structures in the image does the network respond to, whatever the class?",
    reads="Fine lines are structures that the network detects; they are almost the same for every class, so they do "
    "not explain this answer.",
    needs={"gradients", "operations"},
    claims={"deterministic"},
    fails={
        "class contrast": "restores what the network detects, whatever the class",
        "completeness": "not a decomposition of the score",
    },
)
def guided_backprop(
    model: Model, image: Images, *, target: Target = TOP1, on_missing: OnMissing = "error"
) -> list[Attribution]:
    """Compute the gradient, but pass only positive gradients through every rectifier in the backward pass.

        G_x = g'(x) · max(G_y, 0)    at y = g(x);    S = Σ_channels G

    Removing negative evidence makes sharp images. They hardly change when the weights of the later layers are
    randomised (Adebayo et al. 2018), nor from class to class: in theory, the method partly restores the image (Nie et
    al. 2018).

    Args:
        model: the network.
        image: one image or several.
        target: the score f_c, before softmax; the top class by default.
        on_missing: at an operation without a rule, ``error`` raises an error and ``gradient`` uses its plain gradient,
            which the notes state.

    Returns:
        A signed map of the modified gradient at full resolution, per channel in ``channels``. Only its structure is
        meaningful, neither its sign nor its scale. ``notes["rules"]`` counts the operations that were treated.

    Raises:
        UnknownName: no such class or label.
        NoRule: an operation has no rule.
        LayerError: a part of the network is traced or scripted.
        NoGradient: the score does not depend on the input.

    Differs from the paper: the rule applies to every rectifying activation (ReLU6, SiLU, GELU, Hardswish and similar
    ones), with that activation's own derivative, and however it is called: as a module, as a function, reused, in
    place.

    Example:
        >>> import convscope as cs
        >>> a = cs.guided_backprop(cs.load("bundled:shapes"), "sample:shapes/7")
        >>> a.notes["rules"]
        {'relu: guided': 13}

    Source: :cite:`springenberg2015striving`, figure 1; its limitations :cite:`adebayo2018sanity` and
    :cite:`nie2018theoretical`.
    """
    return gradient_values(model, image, target, guided(), on_missing)
