"""The log of a training on disk: TensorBoard's event files, and NPZ files beside them for large arrays."""
