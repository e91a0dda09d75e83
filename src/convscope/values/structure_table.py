"""A network's structure as a table of text: a tree of modules with the operations between them, and the totals."""

from __future__ import annotations

from convscope.values.formatting import field_words, many, sides, storage
from convscope.values.structure import Module, Part, Structure

_HEAD = ("layer", "kind", "output", "parameters", "FLOPs", "field", "stride")
_NEVER = "not run"


def table(structure: Structure, depth: int) -> list[str]:
    """The structure as lines of text: a tree of modules and the operations between them, and the totals."""
    rows = [_HEAD, *_rows(structure, "", depth)]
    widths = [max(len(row[column]) for row in rows) for column in range(len(_HEAD))]
    laid = ["  ".join(_cell(text, w, c) for c, (text, w) in enumerate(zip(r, widths, strict=True))) for r in rows]
    rule = "─" * len(laid[0])
    return [laid[0].rstrip(), rule, *(line.rstrip() for line in laid[1:]), rule, *_totals(structure)]


def _rows(structure: Structure, address: str, depth: int, level: int = 0) -> list[tuple[str, ...]]:
    """The row of a module and, down to that depth, those of what is within it in the order in which it runs."""
    one = structure.module(address)
    name = address.rpartition(".")[2] if address else structure.name
    times = f" ×{one.calls}" if one.calls > 1 else ""
    kind = f"{one.kind} {one.detail}".strip()
    rows = [_row("  " * level + name + times, kind if address else one.kind, one, ran=one.calls > 0)]
    between = [(p, o) for p, o in enumerate(structure.operations) if o.module == address and o.parents and not o.moves]
    if one.leaf:  # what is one operation each time needs no line of its own
        between = [(p, o) for p, o in between if not o.calls or o.calls[-1] == 1]
        between = between if len(between) > 1 else []
    if level >= depth:
        return rows
    inner: list[tuple[int, list[tuple[str, ...]]]] = []
    for child in _children(structure, address):
        inner.append((child.first, _rows(structure, child.address, depth, level + 1)))
    inner += [(place, [_row("  " * (level + 1) + "·", operation.kind, operation)]) for place, operation in between]
    return rows + [row for _, several in sorted(inner, key=lambda pair: pair[0]) for row in several]


def _children(structure: Structure, address: str) -> list[Module]:
    start = f"{address}." if address else ""
    within = [m for m in structure.modules if m.address.startswith(start) and m.address]
    return [one for one in within if "." not in one.address.removeprefix(start)]


def _row(name: str, kind: str, part: Part, *, ran: bool = True) -> tuple[str, ...]:
    parameters = f"{part.parameters:,}" if part.parameters else "–"
    if not ran:
        return name, kind, _NEVER, parameters, "–", "", ""
    flops = part.flops + part.norm_flops
    return name, kind, sides(part.shape[1:]), parameters, many(flops) if flops else "–", *_sight(part)


def _sight(part: Part) -> tuple[str, str]:
    """The receptive field and the stride in words."""
    stride = sides([round(s, 3) for s in part.stride if s is not None]) if None not in part.stride else ""
    return field_words(part.field), "" if None in part.field else stride


def _cell(text: str, width: int, column: int) -> str:
    return text.ljust(width) if column < 3 else text.rjust(width)


def _totals(structure: Structure) -> list[str]:
    return [
        f"parameters   {structure.parameters:,} ({storage(structure.parameter_bytes)})",
        f"FLOPs        {structure.flops:,} in products (a multiply-add counts two) + {structure.norm_flops:,} in norms",
        f"activations  {storage(structure.activation_bytes)} for one input of {sides(structure.input[1:])}",
    ]
