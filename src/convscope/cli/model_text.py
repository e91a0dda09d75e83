"""The description of a model as text for the terminal."""

from collections.abc import Mapping
from typing import Any


def description_text(description: Mapping[str, Any]) -> str:
    """Lines with a name and a value each, from the plain data of `describe_model`."""
    conversion = description["conversion"]
    lines = {
        "model": f"{description['name']} ({description['source']})",
        "task": description["task"],
        "targets": ", ".join(description["targets"]),
        "input": _input(description["input"]),
        "output": _output(description),
        "labels": _labels(description["labels"]),
        "layers": f"{description['layers']:,}, with {description['parameters']:,} parameters "
        "('convscope layers --model …' lists them)",
        "available": ", ".join(description["available"])
        + (f" only: {description['limited']}" if description["limited"] else ""),
        "conversion": conversion
        and f"agrees with {conversion['engine']} to {conversion['difference']:.1e} of the largest output value",
        "note": "; ".join(description["caveats"]),
    }
    width = max(map(len, lines))
    return "\n".join(f"{name:<{width}}  {value}" for name, value in lines.items() if value)


def _input(fields: Mapping[str, Any]) -> str:
    settings = [f"{name} {_plain(value)}" for name, value in fields.items() if name != "kind" and value != ""]
    return ", ".join([fields["kind"], *settings])


def _plain(value: Any) -> str:
    if isinstance(value, (tuple, list)):
        return "×".join(map(str, value)) if all(isinstance(v, int) for v in value) else " ".join(map(str, value))
    return str(value)


def _output(description: Mapping[str, Any]) -> str:
    shape = description["output"]["shape"]
    if shape is None:
        return f"unknown: {description['failure']}"
    return f"{'×'.join(map(str, shape))} {description['output']['meaning']}"


def _labels(labels: Mapping[str, Any]) -> str:
    if not labels["count"]:
        return "none: classes are named by their index (--labels FILE names them)"
    return f"{labels['count']}: {', '.join(labels['first'])}{', …' if labels['count'] > len(labels['first']) else ''}"
