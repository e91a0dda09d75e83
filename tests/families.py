"""The families of lenses that tables over networks have as rows."""

import convscope as cs


def families_of_every_network() -> list[str]:
    """Those that explain networks without attention, in the order of lists."""
    return list(dict.fromkeys(spec.family for spec in cs.lenses() if "attention" not in spec.needs))
