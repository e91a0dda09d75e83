"""A lens's declaration as plain data, with its parameters as JSON schema."""

from typing import Any

from convscope.spec import LensSpec, Parameter

KINDS = {bool: "boolean", int: "integer", float: "number", str: "string"}


def lens_description(spec: LensSpec) -> dict[str, Any]:
    """Everything that a client needs to offer a lens to its users."""
    fields = ("name", "command", "family", "title", "asks", "reads", "cite")
    return {
        **{key: getattr(spec, key) for key in fields},
        "returns": spec.returns.__name__,
        "inputs": list(spec.inputs),
        "required": list(spec.required),
        "claims": sorted(spec.claims),
        "fails": dict(spec.fails),
        "parameters": parameters_schema(spec),
    }


def parameters_schema(spec: LensSpec) -> dict[str, Any]:
    """The parameters of a lens as JSON schema of one object."""
    properties = {name: parameter_schema(parameter) for name, parameter in spec.options.items()}
    return {"type": "object", "properties": properties, "additionalProperties": False}


def parameter_schema(parameter: Parameter) -> dict[str, Any]:
    """One parameter as JSON schema."""
    about = parameter.about
    kind = KINDS.get(parameter.kind, "string")
    optional = parameter.default is None or type(None) in parameter.also
    schema: dict[str, Any] = {"type": [kind, "null"] if optional else kind, "description": about.help}
    if isinstance(parameter.default, (bool, int, float, str, type(None))):
        schema["default"] = parameter.default
    if about.choices:
        schema["enum"] = [*about.choices, None] if optional else list(about.choices)
    limits = {name: limit for name, limit in (("minimum", about.min), ("maximum", about.max)) if limit is not None}
    if about.joined:
        schema |= {"x-joined": about.joined, "x-each": limits}
    else:
        schema |= limits
    if about.unit:
        schema["x-unit"] = about.unit
    return schema
