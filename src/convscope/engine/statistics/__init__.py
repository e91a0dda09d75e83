"""Statistics over many inputs or many numbers: of activations, gradients and maps, and the top inputs of units."""
