"""Where Keras' axes are in the torch tensors of a translated network.

Keras usually keeps channels last, torch keeps them first. A translated network keeps the channels of every tensor at
axis 1, so that its layers are the ordinary ones of torch; only layers that speak of axes or of the order of elements
need this translation. A network that was built with channels first has the axes of torch already.
"""

from dataclasses import dataclass

from torch import Tensor


@dataclass(frozen=True)
class Layout:
    """How tensors of a network are stored.

    Attributes:
        channels_first: whether Keras' own tensors have their channels at axis 1.
    """

    channels_first: bool = False

    def axis(self, axis: int, ndim: int) -> int:
        """The axis of a torch tensor that is ``axis`` (counted from either end) of the Keras tensor."""
        axis = axis + ndim if axis < 0 else axis
        if not 0 <= axis < ndim:
            raise ValueError(f"axis {axis} of a tensor with {ndim} axes")
        if self.channels_first or ndim <= 2 or axis == 0:
            return axis
        return 1 if axis == ndim - 1 else axis + 1

    def to_keras(self, tensor: Tensor) -> Tensor:
        """A view of a torch tensor with the axes in Keras' order."""
        return tensor if self.channels_first or tensor.ndim <= 2 else tensor.movedim(1, -1)

    def from_keras(self, tensor: Tensor) -> Tensor:
        """A view with the channels at axis 1 of a tensor whose axes are in Keras' order."""
        return tensor if self.channels_first or tensor.ndim <= 2 else tensor.movedim(-1, 1)

    def shape_from_keras(self, shape: tuple[int | None, ...]) -> tuple[int | None, ...]:
        """The shape of a torch tensor whose Keras tensor has ``shape`` (batch first)."""
        if self.channels_first or len(shape) <= 2:
            return shape
        return (shape[0], shape[-1], *shape[1:-1])
