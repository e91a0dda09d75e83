"""Backward rules: the score is propagated back, operation by operation."""
