"""A network: the model, its state and how it is restored, memory format, folding, precision, meaning of the output."""
