"""Ratios to one plain forward, ours and the peers', measured interleaved in one run: ``make bench``."""
