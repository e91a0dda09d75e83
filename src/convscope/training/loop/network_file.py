"""The file ``network.py`` in the folder of a training, with which the trained network is opened by its address."""

from pathlib import Path

from convscope.engine.inputs.specs import ImageInput
from convscope.engine.network.model import Model
from convscope.training.loop.architectures import ARCHITECTURES
from convscope.values import atomic_write

NETWORK_FILE, WEIGHTS = "network.py", "network.safetensors"

_TEXT = '''\
"""A network trained with ConvScope; its address is the path of this file, a colon, and make."""

from pathlib import Path

from safetensors.torch import load_file

import convscope as cs
{imports}

def make() -> cs.Model:
    """The network with its best weights, its preprocessing and the names of its classes."""
    network = {network}
    network.load_state_dict(load_file(Path(__file__).with_name("{weights}")))
    preparation = cs.ImageInput(size={size}, mean={mean}, std={std})
    return cs.Model(network.eval(), input=preparation, labels={labels}, name={name!r})
'''


def write_network_file(model: Model, folder: Path) -> Path:
    """Write the file beside the weights.

    Args:
        model: the network; its name is that of an architecture, or an address that makes the network.
    """
    spec, name = model.input, str(model.name)
    assert isinstance(spec, ImageInput), "the loop made it"
    assert spec.mean is not None, "the loop measured it"
    if name in ARCHITECTURES:
        imports = "from convscope.training.loop.architectures import ARCHITECTURES\n"
        network = f"ARCHITECTURES[{name!r}]({len(spec.mean)}, {len(model.labels or ())})"
    else:
        file, _, function = name.rpartition(":")
        imports, network = "", f"cs.load({f'{Path(file).expanduser().resolve()}:{function}'!r}).module"
    text = _TEXT.format(
        imports=imports, network=network, weights=WEIGHTS, size=spec.size, mean=spec.mean, std=spec.std,
        labels=tuple(model.labels or ()), name=name,
    )  # fmt: skip
    path = folder / NETWORK_FILE
    with atomic_write(path) as draft:
        draft.write_text(text, "utf-8")
    return path
