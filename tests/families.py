"""The families of lenses that tables over networks have as rows."""

import convscope as cs


def families_of_every_network() -> list[str]:
    """Those that explain networks without attention and gates, in the order of lists."""
    return list(dict.fromkeys(spec.family for spec in cs.lenses() if not spec.needs & {"attention", "gates"}))
