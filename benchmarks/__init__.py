"""Time and memory of explanations relative to a plain forward pass, compared with other libraries: ``make bench``."""
