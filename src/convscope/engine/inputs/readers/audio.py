"""Sound files: ``.wav``."""

import warnings
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from convscope.engine.inputs.raw_input import RawInput, check_count
from convscope.errors import InputError
from convscope.spec import input_format


@input_format(
    name="wav",
    title="a WAV file",
    extensions=(".wav",),
    recognizes=lambda path, head: head[:4] in (b"RIFF", b"RIFX") and head[8:12] == b"WAVE",
    kinds=("signal",),
)
def read_wav(path: Path, options: Mapping[str, str]) -> RawInput:
    """Read samples from -1 to 1 with their sampling rate."""
    from scipy.io import wavfile

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", wavfile.WavFileWarning)  # chunks that hold no samples
        rate, samples = wavfile.read(path)
    if not samples.size:
        raise InputError(f"{path.name!r} is empty: it holds no samples")
    check_count(samples.shape, repr(path.name))
    channels = samples[None] if samples.ndim == 1 else samples.T
    if samples.dtype == np.uint8:
        channels = (channels.astype(np.float32) - 128) / 128
    elif samples.dtype.kind == "i":
        channels = channels.astype(np.float32) / -float(np.iinfo(samples.dtype).min)
    return RawInput(np.ascontiguousarray(channels, np.float32), ("time",), (1 / rate,), "s", title=repr(path.name))
