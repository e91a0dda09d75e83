"""``PATH.py:NAME``: a network returned by a function in the user's own source file."""

import importlib.util
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from convscope.errors import ConvScopeError, LoadError, UnknownName, did_you_mean
from convscope.spec import loader

if TYPE_CHECKING:
    from convscope.engine.network.model import Model


@loader(scheme="py", title="a function in your own file that returns the network", example="net.py:make", names=list)
def source(name: str, *, chosen: str | None = None, weights: str | Path | None = None, trust: bool = False) -> "Model":
    """Run ``PATH.py`` and call ``NAME`` in it, which returns a module, a function of arrays or a `Model`."""
    from torch import nn

    from convscope.engine.network.model import Model
    from convscope.loaders.weights import load_state, read_state

    if chosen is not None:
        raise LoadError(f"{name} has no named weights such as ?weights={chosen}; weights=… loads a file")
    path, _, attribute = name.rpartition(":")
    network = _run_and_call(Path(path).expanduser(), attribute)
    if isinstance(network, Model):
        model = network
    elif isinstance(network, nn.Module) or (callable(network) and not isinstance(network, type)):
        model = Model(network, name=attribute)
    else:
        raise LoadError(
            f"{name} gives {type(network).__name__}, not a torch.nn.Module, a function of arrays or a convscope.Model"
        )
    if weights is not None:
        load_state(model.module, read_state(weights, trust=trust), weights)
    model.source = name + (f" with {weights}" if weights else "")
    return model


def _run_and_call(path: Path, attribute: str) -> Any:
    if not path.is_file():
        raise LoadError(f"no such file: {str(path)!r}")
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec is not None, "a .py file has a spec"
    assert spec.loader is not None, "a .py file has a loader"
    module = importlib.util.module_from_spec(spec)
    folder = str(path.parent.resolve())
    sys.path.insert(0, folder)
    sys.modules.setdefault(path.stem, module)  # dataclasses and pickle look up the module by name
    try:
        spec.loader.exec_module(module)
        make = getattr(module, attribute, None)
        if make is None:
            known = [n for n in vars(module) if not n.startswith("_")]
            raise UnknownName(f"{path.name} has no {attribute!r}{did_you_mean(attribute, known)}")
        return make() if callable(make) and not hasattr(make, "forward") else make() if isinstance(make, type) else make
    except ConvScopeError:
        raise
    except (Exception, SystemExit) as error:
        raise LoadError(f"{path.name}:{attribute} raised {type(error).__name__}: {error}") from error
    finally:
        if folder in sys.path:
            sys.path.remove(folder)
