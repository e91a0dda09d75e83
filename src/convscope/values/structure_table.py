"""The structure of a network as a text table: a tree of modules and the operations between them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from convscope.values.formatting import format_count, format_field, format_sides
from convscope.values.structure_parts import Component, ModuleSummary, OperationSummary

_HEAD = ("layer", "kind", "output", "parameters", "FLOPs", "field", "stride")
_NOT_RUN = "not run"


def tabulate(
    name: str, modules: Mapping[str, ModuleSummary], operations: Sequence[OperationSummary], depth: int
) -> list[str]:
    """The lines of the table, with a rule below the head and one below the last row.

    Args:
        name: the name of the network.
        modules: address → module, in definition order.
        operations: in execution order.
        depth: the number of module levels to show.
    """
    rows = [_HEAD, *_Tree(name, modules, operations, depth).rows("")]
    widths = [max(len(row[column]) for row in rows) for column in range(len(_HEAD))]
    lines = ["  ".join(_cell(text, w, c) for c, (text, w) in enumerate(zip(r, widths, strict=True))) for r in rows]
    rule = "─" * len(lines[0])
    return [lines[0].rstrip(), rule, *(line.rstrip() for line in lines[1:]), rule]


@dataclass(frozen=True)
class _Tree:
    name: str
    modules: Mapping[str, ModuleSummary]
    operations: Sequence[OperationSummary]
    depth: int

    def rows(self, address: str, level: int = 0) -> list[tuple[str, ...]]:
        """The row of a module and, down to ``depth``, those of its children and operations in execution order."""
        module = self.modules[address]
        name = address.rpartition(".")[2] if address else self.name
        repeats = f" ×{module.calls}" if module.calls > 1 else ""
        kind = f"{module.kind} {module.detail}".strip()
        label = "  " * level + name + repeats
        rows = [_row(label, kind if address else module.kind, module, ran=module.calls > 0)]
        if level >= self.depth:
            return rows
        nested: list[tuple[int, list[tuple[str, ...]]]] = []
        for child in self._children(address):
            nested.append((child.first, self.rows(child.address, level + 1)))
        for index, operation in self._own_operations(module):
            nested.append((index, [_row("  " * (level + 1) + "·", operation.kind, operation)]))
        return rows + [row for _, child_rows in sorted(nested, key=lambda pair: pair[0]) for row in child_rows]

    def _own_operations(self, module: ModuleSummary) -> list[tuple[int, OperationSummary]]:
        """The operations in the forward of the module itself, with their indices."""
        own = [
            (index, operation)
            for index, operation in enumerate(self.operations)
            if operation.module == module.address and operation.parents and not operation.moves
        ]
        if not module.leaf:
            return own
        first_call = [(index, operation) for index, operation in own if not operation.calls or operation.calls[-1] == 1]
        return first_call if len(first_call) > 1 else []  # a leaf of a single operation needs no second row

    def _children(self, address: str) -> list[ModuleSummary]:
        prefix = f"{address}." if address else ""
        descendants = [m for m in self.modules.values() if m.address.startswith(prefix) and m.address]
        return [module for module in descendants if "." not in module.address.removeprefix(prefix)]


def _row(name: str, kind: str, part: Component, *, ran: bool = True) -> tuple[str, ...]:
    parameters = f"{part.parameters:,}" if part.parameters else "–"
    if not ran:
        return name, kind, _NOT_RUN, parameters, "–", "", ""
    flops = part.flops + part.norm_flops
    shape = format_sides(part.shape[1:])
    return name, kind, shape, parameters, format_count(flops) if flops else "–", *_field_and_stride(part)


def _field_and_stride(part: Component) -> tuple[str, str]:
    """The receptive field and the stride as text."""
    stride = format_sides([round(s, 3) for s in part.stride if s is not None]) if None not in part.stride else ""
    return format_field(part.field), "" if None in part.field else stride


def _cell(text: str, width: int, column: int) -> str:
    return text.ljust(width) if column < 3 else text.rjust(width)
