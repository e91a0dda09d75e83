"""A request: a lens, the addresses of what it is applied to, and its parameters, as one value.

The command line, the pages and the API make requests and run them; the lines under "Reproduce this" are printed from
them. What stands at an address is found by an `Opener`, of which each of them has its own.
"""

import json
import shlex
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext
from dataclasses import dataclass, field, replace
from typing import Any, Protocol, Self

from convscope.catalogue import call, find, load
from convscope.errors import InputError, ParameterError, UnknownName
from convscope.spec import INPUT_KINDS, InputKind, LensSpec

_LITERALS = (str, int, float, bool, list, tuple, type(None))


class Opener(Protocol):
    """Finds what stands at the addresses of a request."""

    def model(self, address: str, options: Mapping[str, Any]) -> AbstractContextManager[Any]:
        """The model at an address, for the time of one call."""

    def image(self, kind: InputKind, address: Any, model: Any) -> Any:
        """The image at an address, or several, as lenses accept them; ``kind`` is an image or a second image."""

    def data(self, kind: InputKind, address: Any, model: Any) -> Any:
        """The data set at an address."""


class _Python(Opener):
    """Addresses as Python reads them: files, folders and samples."""

    def model(self, address: str, options: Mapping[str, Any]) -> AbstractContextManager[Any]:
        return nullcontext(load(address, **options))

    def image(self, kind: InputKind, address: Any, model: Any) -> Any:
        return address

    def data(self, kind: InputKind, address: Any, model: Any) -> Any:
        return address


PYTHON: Opener = _Python()
"""Opens addresses as `convscope.load` and the lenses do."""


@dataclass(frozen=True, eq=False)
class Request:
    """A lens, the addresses of what it is applied to, and its parameters; it can be pickled, compared and hashed.

    Attributes:
        lens: the name of the lens, as Python writes it.
        inputs: the address of each input by its name; None for an object in memory, which has no address.
        parameters: the lens's own parameters, where they differ from the defaults, and ``smooth``.
        model_options: how the model is opened: arguments of `convscope.load` other than the address.
    """

    lens: str
    inputs: Mapping[str, Any] = field(default_factory=dict)
    parameters: Mapping[str, Any] = field(default_factory=dict)
    model_options: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        object.__setattr__(self, "lens", self.lens.replace("-", "_"))
        for name in ("inputs", "parameters", "model_options"):
            object.__setattr__(self, name, dict(getattr(self, name)))

    @property
    def key(self) -> str:
        """A text that is the same for equal requests, on every machine."""
        parts = (self.lens, self.inputs, self.parameters, self.model_options)
        return json.dumps([_plain(part) for part in parts], sort_keys=True, ensure_ascii=False)

    def __eq__(self, other: object) -> bool:
        return self.key == other.key if isinstance(other, Request) else NotImplemented

    def __hash__(self) -> int:
        return hash(self.key)

    @property
    def spec(self) -> LensSpec | None:
        """The declaration of the lens; None if it is the user's own and not installed."""
        try:
            return find(self.lens)
        except UnknownName:
            return None

    def with_inputs(self, **addresses: Any) -> Self:
        """The same request with other addresses."""
        return replace(self, inputs={**self.inputs, **addresses})

    # --- running it

    def run(self, opener: Opener = PYTHON) -> Any:
        """Call the lens with what stands at the addresses.

        Raises:
            ConvScopeError: an address leads nowhere, a required input is missing, or the lens refuses a parameter.
        """
        with self.opened(opener) as call_lens:
            return call_lens()

    @contextmanager
    def opened(self, opener: Opener = PYTHON) -> Iterator[Callable[[], Any]]:
        """Open everything that stands at the addresses; the body calls the lens with the function it gets."""
        spec = find(self.lens)
        with ExitStack() as stack:
            arguments = self._arguments(spec, opener, stack)
            missing = [name for name in spec.required if name not in arguments]
            if missing:
                raise ParameterError(
                    f"{spec.command} needs {' and '.join(missing)}: name {'one' if len(missing) == 1 else 'them'}"
                )
            yield lambda: call(self.lens, **arguments, **self.parameters)

    def _arguments(self, spec: LensSpec, opener: Opener, stack: ExitStack) -> dict[str, Any]:
        """What stands at the addresses, by the name of the input: the model first, which images are prepared for."""
        arguments: dict[str, Any] = {}
        for kind in sorted(spec.input_kinds, key=lambda kind: kind.content != "network"):
            if kind.name not in self.inputs:
                continue
            address = self.inputs[kind.name]
            if address is None:
                raise InputError(f"{kind.name} was an object in memory, which has no address: call the lens with it")
            if kind.content == "network":
                arguments[kind.name] = stack.enter_context(opener.model(address, self.model_options))
            elif kind.content == "data set":
                arguments[kind.name] = opener.data(kind, address, arguments.get("model"))
            elif kind.content == "address":
                arguments[kind.name] = list(address) if isinstance(address, tuple) else address
            else:
                arguments[kind.name] = opener.image(kind, address, arguments.get("model"))
        return arguments

    # --- writing it down

    @property
    def has_command(self) -> bool:
        """Whether the command line can express it: everything has an address or can be written as text."""
        addresses = all(address is not None for address in self.inputs.values())
        written = [*self._texts().values(), *(v for name, v in self.parameters.items() if name != "smooth")]
        smooth = self.parameters.get("smooth")
        return addresses and all(map(_is_literal, written)) and (smooth is None or _is_plain(smooth))

    def opening(self) -> str:
        """Python that opens the model as ``model``."""
        if "model" not in self.inputs:
            return "import convscope as cs"
        address = self.inputs["model"]
        options = "".join(f", {name}={value!r}" for name, value in self.model_options.items())
        opened = f"cs.load({address!r}{options})" if address else "...  # the cs.Model of this report"
        return f"import convscope as cs\nmodel = {opened}"

    def call(self) -> str:
        """Python that calls the lens; ``image`` and ``...`` stand for objects in memory."""
        positional = ["model"] if "model" in self.inputs else []
        positional += [
            name if address is None else repr(address) for name, address in self._inputs("image", "data set").items()
        ]
        named = [f"{name}={address!r}" for name, address in self._inputs("second image").items()]
        named += [f"{name}={_python(name, value)}" for name, value in {**self.parameters, **self._texts()}.items()]
        return f"cs.{self.lens}({', '.join([*positional, *named])})"

    def command(self) -> str:
        """The command line; empty where there is none."""
        if not self.has_command:
            return ""
        words = ["convscope", self.lens.replace("_", "-")]
        for address in self._inputs("image", "data set").values():
            words += address if isinstance(address, (list, tuple)) else [address]
        words += ["--model", self.inputs["model"]] if "model" in self.inputs else []
        for name, value in {**self.model_options, **self._inputs("second image")}.items():
            words += [f"--{name}", str(value)]
        arguments, options = self._command_parameters()
        return shlex.join([*words, *arguments, *options])

    def _command_parameters(self) -> tuple[list[str], list[str]]:
        """The parameters as words of the command line: those that need no option name, and options."""
        spec = self.spec
        positional = [] if spec is None else [name for name in spec.positional if name in spec.parameters]
        arguments = [str(self.parameters.get(name, spec.parameters[name].default)) for name in positional]  # type: ignore[union-attr]
        options: list[str] = []
        for name, value in {**self.parameters, **self._texts()}.items():
            if name not in positional:
                options += _options(name, value)
        return arguments, options

    def _inputs(self, *contents: str) -> dict[str, Any]:
        return {name: address for name, address in self.inputs.items() if INPUT_KINDS[name].content in contents}

    def _texts(self) -> dict[str, Any]:
        """Targets, layers, units and whatever else is written as text."""
        return self._inputs("address")


def _plain(value: Any) -> Any:
    """A value as JSON writes it, with equal numbers written equally."""
    if isinstance(value, Mapping):
        return {str(name): _plain(part) for name, part in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(part) for part in value]
    if isinstance(value, float) and value.is_integer():
        return int(value)
    return value if value is None or isinstance(value, (str, bool, int, float)) else str(value)


def _options(name: str, value: Any) -> list[str]:
    """A parameter as options of the command line."""
    flag = name.replace("_", "-")
    if name == "smooth":
        return ["--smooth", str(value["samples"]), "--smooth-of", value["of"]]
    if isinstance(value, bool):
        return [f"--{flag}" if value else f"--no-{flag}"]
    texts = [str(item) for item in (value if isinstance(value, (list, tuple)) else [value])]
    # a text that begins with a dash would be read as an option
    return [word for t in texts for word in ([f"--{flag}={t}"] if t.startswith("-") else [f"--{flag}", t])]


def _python(name: str, value: Any) -> str:
    """A parameter as Python writes it."""
    if name == "smooth" and isinstance(value, Mapping):
        return f"cs.Smooth({', '.join(f'{key}={part!r}' for key, part in value.items())})"
    return repr(value) if _is_literal(value) else "..."


def _is_plain(smooth: Any) -> bool:
    """Whether only those fields of a `cs.Smooth` are set for which the command line has options."""
    return isinstance(smooth, Mapping) and (smooth["augment"], smooth["sigma"], smooth["seed"]) == ("noise", 0.1, 0)


def _is_literal(value: Any) -> bool:
    """Whether a parameter can be written down; the description of a function or of a mask cannot."""
    described = isinstance(value, str) and value.endswith(("(output)", " within the region"))
    return isinstance(value, _LITERALS) and not described
