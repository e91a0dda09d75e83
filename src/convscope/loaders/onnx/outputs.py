"""The outputs of a graph: which kinds are refused, and which one holds the scores."""

from convscope.errors import LoadError
from convscope.loaders.onnx.inputs import GraphInput
from convscope.loaders.onnx.reading import StoredModel
from convscope.loaders.onnx.runtime import RuntimeNetwork
from convscope.loaders.onnx.tensors import STRING_TYPE
from convscope.values.formatting import format_list


def check_outputs(stored: StoredModel) -> None:
    """Refuse a graph whose outputs cannot be explained.

    Raises:
        LoadError: it has no output, or one that is no tensor of numbers.
    """
    outputs = stored.proto.graph.output
    if not outputs:
        raise LoadError(f"{str(stored.path)!r} has no output: there is nothing to explain")
    names = [info.name for info in outputs]
    if len(set(names)) < len(names) or "" in names:
        raise LoadError(
            f"{str(stored.path)!r} has outputs without a name, or two of the same name: {format_list(names)}"
        )
    for info in outputs:
        kind = info.type.WhichOneof("value") or "tensor_type"
        if kind != "tensor_type" or info.type.tensor_type.elem_type == STRING_TYPE:
            given = "text" if kind == "tensor_type" else kind.removesuffix("_type")
            raise LoadError(
                f"{str(stored.path)!r} gives a {given} as its output {info.name!r}: export the scores as a tensor of "
                "numbers"
            )


def first_scores(stored: StoredModel, runtime: RuntimeNetwork, graph_input: GraphInput) -> tuple[str, tuple[int, ...]]:
    """The name and the shape of the first output with numbers for each input.

    Raises:
        LoadError: there is none.
    """
    names = [info.name for info in stored.proto.graph.output]
    inputs = graph_input.examples(2).float().numpy()
    for name, values in zip(names, runtime.run(inputs, names), strict=True):
        if values.dtype.kind == "f" and values.ndim and len(values) == len(inputs):
            return name, values.shape
    raise LoadError(f"{str(stored.path)!r} has no output with numbers for each input, which could be explained")
