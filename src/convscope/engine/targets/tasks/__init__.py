"""The tasks of networks, one per file: what an output is, which targets there are, and what a prediction shows."""
