"""All declarations of lenses as one file of plain data, so that lists and help texts import nothing."""

import json

import convscope as cs


def declarations() -> str:
    """The JSON that `convscope.catalogue.declared_lenses` reads, one lens per line."""
    lenses = sorted(cs.lenses(), key=lambda spec: spec.name)
    lines = [f"{json.dumps(spec.name)}: {json.dumps(spec.as_json(), ensure_ascii=False)}" for spec in lenses]
    return "{\n" + ",\n".join(lines) + "\n}\n"
