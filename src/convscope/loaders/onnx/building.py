"""From a graph to modules: each node is translated and run on an example, so that ranks and shapes are known.

What depends on no input is computed once and kept as a constant. Functions, branches and loops are replaced by the
nodes that they consist of.
"""

from collections.abc import Mapping, MutableMapping, Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn

from convscope.errors import ConvScopeError, LoadError, brief_reason
from convscope.loaders.onnx import control_flow, functions, sequences  # noqa: F401 - the first and last declare expansions
from convscope.loaders.onnx.expansion import EXPANSIONS
from convscope.loaders.onnx.graph import MAX_DEPTH, Node, decode_node, last_reads, needed, ordered, readers_of
from convscope.loaders.onnx.network import OnnxNetwork, Operation, Step
from convscope.loaders.onnx.operators.declaration import FUNCTIONS, IGNORED_ATTRIBUTES, TRANSLATORS
from convscope.loaders.onnx.operators.quantization import QUANTIZED
from convscope.loaders.onnx.operators.translation import NodeView, Translation, UnsupportedOperator
from convscope.loaders.onnx.reading import StoredModel
from convscope.loaders.onnx.tensors import read_tensor
from convscope.loaders.onnx.values import Dependence, Value
from convscope.values.formatting import format_list

MAX_NODES = 100_000
"""The most nodes that are translated, counting each pass of a loop."""

Scope = MutableMapping[str, Value]


class NetworkBuilder:
    """Builds one network.

    Args:
        stored: the file's content.
        fixed_shape: whether the shape of a sample never changes, so that what is computed from shapes is constant.

    Attributes:
        network: what was built so far.
        quantized: whether a node rounds to whole numbers.
        layers: the address of each node's module, and the name of the value that it computes.
        outputs: what the graph gives for the example, by name.
        opset: the version of the operators in what is being built.
    """

    def __init__(self, stored: StoredModel, *, fixed_shape: bool) -> None:
        self.stored, self.fixed_shape = stored, fixed_shape
        self.network = OnnxNetwork()
        self.quantized = False
        self.layers: list[tuple[str, str]] = []
        self.outputs: dict[str, Tensor] = {}
        self.opset = stored.opset
        self._nodes = self._depth = 0

    def build(self, input_name: str, example: Tensor, fixed: Mapping[str, Tensor]) -> OnnxNetwork:
        """The network of the whole file.

        Args:
            input_name: the input of the graph that is the network's input.
            example: an input of the graph.
            fixed: by name, what the other inputs always are.

        Raises:
            UnsupportedOperator: a node cannot be translated.
            LoadError: the graph or one of its weights is wrong, or the network cannot run on the example.
        """
        with torch.no_grad():
            return self._build(input_name, example, fixed)

    def _build(self, input_name: str, example: Tensor, fixed: Mapping[str, Tensor]) -> OnnxNetwork:
        graph = self.stored.proto.graph
        scope: Scope = {input_name: Value(input_name, example, Dependence.INPUT, self.network.input)}
        scope.update({name: Value(name, tensor, Dependence.NOTHING) for name, tensor in fixed.items()})
        outputs = self.run_graph(graph, scope)
        not_tensors = [value.name for value in outputs if not isinstance(value.example, Tensor)]
        if not_tensors:
            raise LoadError(f"the output {not_tensors[0]!r} of the graph is a sequence: export the scores as a tensor")
        self.network.outputs = {
            info.name: self._number(value) for info, value in zip(graph.output, outputs, strict=True)
        }
        self.outputs = {info.name: value.example for info, value in zip(graph.output, outputs, strict=True)}
        self._mark_last_uses()
        return self.network.eval()

    def run_graph(self, graph: Any, scope: Scope, prefix: str = "") -> list[Value]:
        """The outputs of a graph whose inputs are in the scope."""
        for tensor in graph.initializer:
            constant = read_tensor(tensor, self.stored.folder)
            scope[tensor.name] = Value(tensor.name, constant, Dependence.NOTHING, trained=constant.is_floating_point())
        if graph.sparse_initializer:
            raise UnsupportedOperator("sparse weights")
        names = [info.name for info in graph.output]
        nodes = [decode_node(node, self.stored.folder) for node in graph.node]
        self.run_nodes(nodes, names, scope, prefix)
        missing = next((name for name in names if name not in scope), None)
        if missing is not None:
            raise LoadError(f"the output {missing!r} of the graph is written by no node")
        return [scope[name] for name in names]

    def run_nodes(self, nodes: Sequence[Node], outputs: Sequence[str], scope: Scope, prefix: str) -> None:
        """Translate the nodes on which the outputs depend; values that are still needed are added to the scope."""
        self._depth += 1
        if self._depth > MAX_DEPTH:
            raise LoadError(f"functions, branches and loops are nested more than {MAX_DEPTH} deep")
        nodes = needed(ordered(nodes, scope), outputs)
        readers, absorbed = readers_of(nodes), set[str]()
        nodes.sort(key=lambda node: node.kind != "Constant")  # so that a bias is known before the sum that adds it
        own = {name for node in nodes for name in node.outputs}.difference(outputs)
        for node, read_last in zip(nodes, last_reads(nodes), strict=True):
            self._nodes += 1
            if self._nodes > MAX_NODES:
                raise LoadError(f"the network has more than {MAX_NODES:,} nodes, counting each pass of its loops")
            if absorbed.isdisjoint(node.outputs):
                reader = readers.get(node.outputs[0], []) if node.outputs and node.outputs[0] not in outputs else []
                consumer = reader[0] if len(reader) == 1 else None
                if self._run_node(node, consumer, scope, prefix) and consumer is not None:
                    absorbed.update(consumer.outputs)
            for name in own.intersection(read_last):  # the outputs of all layers together are as large as the weights
                scope.pop(name, None)
        self._depth -= 1

    def _run_node(self, node: Node, consumer: Node | None, scope: Scope, prefix: str) -> bool:
        """Translate one node; whether it computes the node that reads its output, too."""
        self.quantized |= node.kind in QUANTIZED
        if node.kind in EXPANSIONS and not node.domain:
            self._run_expansion(node, scope, prefix)
            return False
        values = [scope[name] if name else None for name in node.inputs]
        if node.domain or node.kind not in FUNCTIONS:
            self._run_function(node, values, scope, prefix)
            return False
        if any(value is not None and not isinstance(value.example, Tensor) for value in values):
            if node.kind != "Identity":
                raise UnsupportedOperator(f"{node.kind} of a sequence")
            scope[node.outputs[0]] = scope[node.inputs[0]]
            return False
        try:
            constant = all(value is None or value.dependence is Dependence.NOTHING for value in values)
            if constant or (self.fixed_shape and node.kind in ("Shape", "Size")):
                self._fold(node, values, scope)
                return False
            return self._add_module(node, values, consumer, scope, prefix)
        except ConvScopeError:
            raise
        except NotImplementedError as error:
            types = {str(v.example.dtype)[6:] for v in values if v is not None and isinstance(v.example, Tensor)}
            raise UnsupportedOperator(f"{node.kind} of {' and '.join(sorted(types))} numbers") from error
        except Exception as error:  # whatever torch and Python raise for operands that do not fit
            shapes = [tuple(v.example.shape) for v in values if v is not None and isinstance(v.example, Tensor)]
            is_empty = isinstance(error, ZeroDivisionError) and any(0 in shape for shape in shapes)
            reason = "a size is 0, so there is nothing to compute; export it again" if is_empty else brief_reason(error)
            listed = format_list(shapes, most=6)  # a node may have thousands of inputs
            raise LoadError(f"node {node.name!r} ({node.kind}) cannot run on tensors {listed}: {reason}") from error

    def _run_expansion(self, node: Node, scope: Scope, prefix: str) -> None:
        """Replace a node by others, whose outputs are added to the scope."""
        try:
            EXPANSIONS[node.kind](self, node, scope, prefix)
        except ConvScopeError:
            raise
        except Exception as error:  # whatever Python raises for inputs and attributes that do not fit
            reason = brief_reason(error)
            raise LoadError(f"node {node.name!r} ({node.kind}) cannot be read: {reason}") from error

    def _fold(self, node: Node, values: Sequence[Value | None], scope: Scope) -> None:
        """Compute a node whose inputs are constants."""
        operation, inputs = self._operation(node, values)
        results = _as_sequence(operation(*[value.example for value in inputs]))
        trained = any(value is not None and value.trained for value in values)
        for name, result in zip(node.outputs, results, strict=False):
            if name:
                scope[name] = Value(name, result, Dependence.NOTHING, trained=trained)

    def _operation(self, node: Node, values: Sequence[Value | None]) -> tuple[Operation, list[Value]]:
        """The function of a node's operator as a module, and the values that it takes."""
        declared = FUNCTIONS[node.kind]
        unknown = [name for name in node.attributes if name not in declared.attributes | IGNORED_ATTRIBUTES]
        if unknown:
            raise UnsupportedOperator(f"{node.kind} with the attribute {unknown[0]}")
        attributes = {name: value for name, value in node.attributes.items() if name in declared.attributes}
        if "opset" in declared.extras:
            attributes["opset"] = self.opset
        if "outputs" in declared.extras:
            attributes["outputs"] = len(node.outputs)
        arguments: list[Any] = []
        for position, value in enumerate(values):
            as_number = position < len(declared.parameters) and declared.parameters[position] in declared.numbers
            if value is None:
                arguments.append(None)
            elif value.constant is not None and as_number:
                numbers = value.constant.tolist()
                arguments.append(tuple(numbers) if isinstance(numbers, list) else numbers)
            else:
                arguments.append(Operation.TENSOR)
        taken = [v for v, a in zip(values, arguments, strict=True) if v is not None and a == Operation.TENSOR]
        return Operation(node.kind, arguments, attributes), taken

    def _add_module(
        self, node: Node, values: Sequence[Value | None], consumer: Node | None, scope: Scope, prefix: str
    ) -> bool:
        """Add the module of a node, and run it."""
        translation = self._translation(node, values, consumer, scope)
        module: nn.Module
        if translation is None:
            module, taken = self._operation(node, values)
        else:
            module = translation.module
            taken = [value for position in translation.inputs if (value := values[position]) is not None]
        results = _as_sequence(module.eval()(*[value.example for value in taken]))
        dependence = max(value.dependence for value in taken)
        if node.kind in ("Shape", "Size"):
            dependence = Dependence.SHAPE
        absorbs = translation is not None and translation.absorbs_consumer
        names = consumer.outputs if absorbs and consumer is not None else node.outputs
        numbers = []
        for name, result in zip(names, results, strict=False):
            numbers.append(self._new_number())
            scope[name] = Value(name, result, dependence, numbers[-1])
        inputs = tuple(self._number(value) for value in taken)
        path = self.network.place(prefix + node.name, module)
        self.network.steps.append(Step(path, inputs, tuple(numbers)))
        if self._depth == 1:
            self.layers.append((".".join(path), names[0]))
        return absorbs

    def _translation(
        self, node: Node, values: Sequence[Value | None], consumer: Node | None, scope: Scope
    ) -> Translation | None:
        if node.kind not in TRANSLATORS:
            return None

        def parameter(position: int) -> Tensor:
            value = values[position]
            assert value is not None, "a translator asks for inputs that are there"
            return value.as_weight()

        view = NodeView(
            node.kind,
            node.attributes,
            self.opset,
            [None if value is None else value.example for value in values],
            [None if value is None else value.constant for value in values],
            parameter,
            len(node.outputs),
            _added_bias(node, consumer, scope),
        )
        return TRANSLATORS[node.kind](view)

    def _run_function(self, node: Node, values: Sequence[Value | None], scope: Scope, prefix: str) -> None:
        """Replace a node by the nodes of the function that defines its operator."""
        function = functions.definition(self.stored, node, values, self.opset)
        if function is None:
            raise UnsupportedOperator(functions.operator_name(node))
        inner: Scope = {name: value for name, value in zip(function.input, values, strict=False) if value is not None}
        nodes = []
        for stored in functions.body(function, node):
            inner_node = decode_node(stored, self.stored.folder)
            left_out = {name: "" for name in function.input if name not in inner}
            inputs = tuple(left_out.get(name, name) for name in inner_node.inputs)
            nodes.append(replace(inner_node, inputs=inputs))
        outer, self.opset = self.opset, functions.opset(function, self.opset)
        self.run_nodes(nodes, list(function.output)[: len(node.outputs)], inner, f"{prefix}{node.name}/")
        self.opset = outer
        for name, own in zip(node.outputs, function.output, strict=False):
            if name and own in inner:
                scope[name] = inner[own]

    def add_guard(self, value: Value, name: str, guard: nn.Module) -> None:
        """Add a module that checks a value which depends on the shape of the input, each time the network runs."""
        path = self.network.place(name, guard)
        self.network.steps.append(Step(path, (self._number(value),), (self._new_number(),)))

    def _new_number(self) -> int:
        self.network.values += 1
        return self.network.values - 1

    def _number(self, value: Value) -> int:
        """Where the network keeps a value; a constant becomes a parameter or a buffer of the network."""
        if value.number is None:
            value.number = self._new_number()
            self.network.add_constant(value.name, value.as_input(), value.number)
        return value.number

    def _mark_last_uses(self) -> None:
        """Note in each step which values no later step reads, so that their memory can be used again."""
        kept, later = set(self.network.outputs.values()), set[int]()
        for index in reversed(range(len(self.network.steps))):
            step = self.network.steps[index]
            last = {number for number in (*step.inputs, *step.outputs) if number not in later | kept}
            later |= last
            self.network.steps[index] = replace(step, last_uses=tuple(sorted(last)))


def _as_sequence(results: Any) -> Sequence[Any]:
    return results if isinstance(results, (tuple, list)) else (results,)


def _added_bias(node: Node, consumer: Node | None, scope: Scope) -> tuple[Tensor, Tensor] | None:
    """The constant vector that the only reader of a node's output adds to it, and the parameter that it becomes."""
    if consumer is None or consumer.kind != "Add" or consumer.domain or len(consumer.inputs) != 2:
        return None
    other = next((name for name in consumer.inputs if name != node.outputs[0]), None)
    value = scope.get(other) if other else None
    if value is None or value.constant is None or value.constant.ndim != 1:
        return None
    return value.constant, value.as_weight()
