"""Opening a file as a person would, in this process, under watch: what it imports, opens, runs and allocates."""

import contextlib
import io
import re
import resource
import sys
import time
import warnings
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

import convscope as cs
from convscope.errors import ConvScopeError
from convscope.loaders.keras import hdf5_probe
from convscope.loaders.weights import load_state, read_state
from tests.fuzz.files.mutations import CANARY
from tests.fuzz.files.originals import small

SECONDS = 10
"""The most processor time that a file may take."""
SPARE_BYTES = 64 * 2**20
"""The memory that any file may take; a larger one twice its size."""
MAX_SENTENCE = 1200
MAX_ADDRESSES = 8 * 2**30
"""The address space that a process may take beyond what it has, so that a large tensor is an error and not its end."""
_MAX_INPUT_ELEMENTS = 2**20
"""Networks with larger inputs are opened, but not run."""

_OWN_PROGRAM = [sys.executable, "-P", hdf5_probe.__file__]
_READ_ROOTS = tuple(
    {str(Path(root).resolve()) for root in (sys.prefix, sys.base_prefix, *sys.path) if root}
    | {"/proc", "/sys", "/dev", "/usr", "/etc/ld.so", "/etc/localtime", "/etc/os-release"}
)
_CODE_FILES = re.compile(r"<eval_with_key>|<string>|<lambda>|<attrs|<frozen|<__array_function__|<factory")
"""The names that torch and the standard library give to code which they write themselves."""
_WRITING = re.compile(r"[wax+]")
_SILENT_EVENTS = frozenset({"compile", "exec", "import", "open"})
_FORBIDDEN_EVENTS = (
    "subprocess.Popen", "os.system", "os.exec", "os.posix_spawn", "os.spawn", "os.fork", "pty.spawn", "socket.connect",
    "socket.bind", "socket.getaddrinfo", "os.remove", "os.rename", "os.rmdir", "os.link", "os.symlink", "os.chmod",
    "os.mkdir", "shutil.", "ftplib.", "urllib.Request", "webbrowser.open", "ctypes.dlopen", "code.__new__",
)  # fmt: skip


@dataclass
class Watch:
    """What happens while a file is opened.

    Attributes:
        folder: the folder of the file; None while nothing is watched.
        violations: what must not happen, and did.
    """

    folder: str | None = None
    violations: list[str] = field(default_factory=list)

    def start(self) -> None:
        """Listen to all events of this process, which it does until it ends."""
        sys.addaudithook(self._event)

    def _event(self, event: str, arguments: tuple[Any, ...]) -> None:
        if self.folder is None:
            return
        folder, self.folder = self.folder, None  # what this function does itself is not watched
        try:
            reason = self._reason(event, arguments, folder)
            if reason:
                self.violations.append(reason[:300])
        finally:
            self.folder = folder

    def _reason(self, event: str, arguments: tuple[Any, ...], folder: str) -> str:
        """What is wrong about an event; empty for one that is allowed."""
        if event == "open":
            return self._opened(arguments, folder)
        if event == "import":
            return f"imports {arguments[0]}" if str(arguments[0]).startswith(CANARY) else ""
        if event in ("exec", "compile"):
            return self._ran(event, arguments, folder)
        if event == "subprocess.Popen":
            command = [str(part) for part in arguments[1]]
            return "" if command[: len(_OWN_PROGRAM)] == _OWN_PROGRAM else f"starts {command}"
        return f"{event} {arguments}" if event.startswith(_FORBIDDEN_EVENTS) and event != "os.fork" else ""

    def _opened(self, arguments: tuple[Any, ...], folder: str) -> str:
        path, mode = arguments[0], str(arguments[1] or "")
        if isinstance(path, int):
            return ""
        place = str(Path(path.decode() if isinstance(path, bytes) else str(path)).resolve())
        if _WRITING.search(mode):
            return f"writes {place}"
        return "" if place.startswith((folder, *_READ_ROOTS)) else f"opens {place}"

    def _ran(self, event: str, arguments: tuple[Any, ...], folder: str) -> str:
        code, name = (arguments[0], arguments[1] if event == "compile" else "")
        file = str(name or getattr(code, "co_filename", ""))
        text = code if isinstance(code, str) else b"" if not isinstance(code, bytes) else code
        names = getattr(code, "co_names", ())
        hostile = CANARY in str(text) or any(CANARY in str(own) or own == "__import__" for own in names)
        if event == "compile" and file == "<unknown>" and not hostile:
            return ""  # ast.parse, which runs nothing
        foreign = not file.startswith(_READ_ROOTS) and _CODE_FILES.match(file) is None and file != ""
        return f"{event} of {file}: {str(text)[:80]}" if hostile or foreign or file.startswith(folder) else ""


@dataclass(frozen=True)
class Outcome:
    """What came of one file.

    Attributes:
        kind, seed: the case.
        result: ``model``, ``sentence``, or what went wrong.
        text: the sentence, or more about what went wrong.
        seconds: processor time.
        growth: bytes by which the memory grew at most.
    """

    kind: str
    seed: int
    result: str
    text: str
    seconds: float = 0
    growth: int = 0

    @property
    def is_wrong(self) -> bool:
        """Whether this must not happen."""
        return self.result not in ("model", "sentence")


def run_case(kind: str, seed: int, path: Path, watch: Watch, size: int) -> Outcome:
    """Open one file and judge what happened.

    Args:
        kind, seed: the case.
        path: what is opened.
        watch: listens meanwhile.
        size: the bytes of the file, or of all files of the folder.
    """
    watch.violations = []
    before, started = _reset_peak(), _processor_seconds()
    result, text, peak = "model", "", 0
    printed = io.StringIO()
    watch.folder = str(path.resolve() if path.is_dir() else path.parent.resolve())
    try:
        with warnings.catch_warnings(), contextlib.redirect_stdout(printed), contextlib.redirect_stderr(printed):
            warnings.simplefilter("ignore")
            model = _open(kind, path)
            peak = _peak()
            _run(model)
    except ConvScopeError as error:
        result, text = "sentence", str(error)
    except BaseException as error:  # whatever it is, it should have been a sentence
        result, text = "other error", f"{type(error).__name__}: {error}"
    watch.folder = None
    seconds, growth = _processor_seconds() - started, (peak or _peak()) - before
    if watch.violations:
        result, text = "foreign code", "; ".join(dict.fromkeys(watch.violations))
    elif growth > max(SPARE_BYTES, 2 * size):
        result, text = "memory", f"{growth / 2**20:.0f} MiB for {size:,} bytes ({result} {text})"
    elif seconds > SECONDS:
        result, text = "slow", f"{seconds:.1f} s ({result} {text})"
    elif result == "sentence" and ("\n" in text or not 15 < len(text) < MAX_SENTENCE):
        result = "no sentence"
    return Outcome(kind, seed, result, text, seconds, growth)


def _open(kind: str, path: Path) -> Any:
    """Open a file; the model, if it holds a network."""
    if kind in ("state", "safetensors"):
        load_state(small(), read_state(path, trust=False), path)
        return None
    if kind == "labels":
        cs.load("bundled:digits", labels=str(path))
        return None
    return cs.load(str(path))


def _run(model: Any) -> None:
    """Run a network on one input, as the first lens would; what that takes is the network's own affair."""
    shape = None if model is None else _input_shape(model)
    if shape is not None:
        cs.predict(model, torch.zeros(1, *shape))


def _input_shape(model: Any) -> tuple[int, ...] | None:
    """The shape of one input, where it is known and small."""
    spec = model.input
    shape = getattr(spec, "shape", None) or ((spec.channels, *spec.size) if getattr(spec, "size", None) else None)
    return shape if shape and torch.Size(shape).numel() <= _MAX_INPUT_ELEMENTS else None


def _processor_seconds() -> float:
    """The processor time of this process and of those that it started."""
    children = resource.getrusage(resource.RUSAGE_CHILDREN)
    return time.process_time() + children.ru_utime + children.ru_stime


def _reset_peak() -> int:
    """Begin to note the largest memory anew; the memory in bytes."""
    Path("/proc/self/clear_refs").write_text("5")
    return memory("VmRSS")


def _peak() -> int:
    return memory("VmHWM")


def memory(name: str) -> int:
    """A line of the status of this process, in bytes."""
    status = Path("/proc/self/status").read_text()
    return int(next(line for line in status.splitlines() if line.startswith(name)).split()[1]) * 1024


@contextlib.contextmanager
def own_readers_only() -> Iterator[None]:
    """Without Keras, which would read what ConvScope refuses: its own readers are meant."""
    from convscope.loaders.keras import engine

    library = engine.library
    engine.library = lambda: None
    try:
        yield
    finally:
        engine.library = library
