"""What a shell may offer for the value of an option while somebody types: models, layers, lenses, choices.

Nothing here imports a library for its names: architectures are read from the text of torchvision and timm, as lenses
are from the text of their declarations. Only the layers of a model need it opened, with random weights; a file of
one's own is not run for a completion.
"""

from collections.abc import Callable, Sequence


def starting(choices: Sequence[str]) -> Callable[[str], list[str]]:
    """The choices that begin with what was typed."""

    def complete(incomplete: str) -> list[str]:
        return [choice for choice in choices if choice.startswith(incomplete)]

    return complete
