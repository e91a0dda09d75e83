"""The shares at which quantiles are computed, and their names."""

SHARES = (0.05, 0.25, 0.5, 0.75, 0.95)
NAMES = tuple(f"{share:.0%}".replace("%", " %") for share in SHARES)
