from convscope.engine.inputs.specs import Images
from convscope.engine.network.model import Model
from convscope.engine.rules.modified_gradients import guided
from convscope.engine.targets.target import TOP1, Aim
from convscope.lens.backward._rules import OnMissing, gradient_values
from convscope.runtime.declaration import lens
from convscope.values import Attribution


@lens(
    family="backward",
    title="Guided backpropagation",
    cite="springenberg2015striving",
    asks="Which fine structures does the network pick up on its way to any answer?",
    reads="Fine lines are structures the network sees; they are much the same for every class, so they do not say "
    "why this answer.",
    needs={"gradients", "operations"},
    claims={"deterministic"},
    fails={
        "class contrast": "restores what the network sees, whatever the class",
        "completeness": "not a decomposition of the score",
    },
)
def guided_backprop(
    model: Model, image: Images, *, target: Aim = TOP1, on_missing: OnMissing = "error"
) -> list[Attribution]:
    """Take the gradient, but let only positive signals through every rectifier in the backward pass.

        G_x = g'(x) · max(G_y, 0)    at y = g(x);    S = Σ_channels G

    Cutting off what speaks against makes crisp pictures. They hardly change when the weights of the upper layers are
    randomised (Adebayo et al. 2018), nor from class to class: in theory, the method partly restores the image (Nie et
    al. 2018).

    Args:
        model: the network.
        image: one image or several.
        target: the score f_c, before softmax; the top class by default.
        on_missing: at an operation without a rule, ``error`` refuses and ``gradient`` goes on and says so.

    Returns:
        A signed map of the modified gradient at full resolution, per channel in ``channels``. Only its structure means
        something, neither its sign nor its scale. ``notes["rules"]`` counts the operations that were treated.

    Raises:
        UnknownName: no such class or label.
        NoRule: an operation that no rule is known for.
        LayerError: a part of the network is traced or scripted.
        NoGradient: the score does not depend on the input.

    Differs from the paper: the rule holds for every activation that lets through what is large (ReLU6, SiLU, GELU,
    Hardswish and their like), with that activation's own derivative, and however it is called: as a module, a
    function, reused, in place.

    Example:
        >>> import convscope as cs
        >>> a = cs.guided_backprop(cs.load("bundled:shapes"), "sample:shapes/7")
        >>> a.notes["rules"]
        {'relu: guided': 13}

    Source: :cite:`springenberg2015striving`, figure 1; its limits :cite:`adebayo2018sanity` and
    :cite:`nie2018theoretical`.
    """
    return gradient_values(model, image, target, guided(), on_missing)
