"""A network: the model, its state and how it is put back, memory format, folding, precision, what its output means."""
