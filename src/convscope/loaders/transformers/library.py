"""The import of transformers, and its silence while it reads a folder."""

import contextlib
import importlib.util
import warnings
from collections.abc import Iterator
from typing import Any

from convscope.errors import MissingExtra


def library() -> Any:
    """The module transformers; torchvision, which it imports where it is installed, is made importable first."""
    if importlib.util.find_spec("transformers") is None:
        raise MissingExtra("transformers", "transformers")
    from convscope.loaders.torchvision_operators import prepare_torchvision

    prepare_torchvision()
    import transformers

    return transformers


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Without the progress bars, reports and warnings of transformers; what matters of them is checked and raised."""
    from transformers.utils import logging

    verbosity, progress_bar = logging.get_verbosity(), logging.is_progress_bar_enabled()
    logging.set_verbosity(logging.CRITICAL)
    logging.disable_progress_bar()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.set_verbosity(verbosity)
        if progress_bar:
            logging.enable_progress_bar()
