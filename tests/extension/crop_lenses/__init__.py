"""A package that adds a lens, a kind of value with its picture, and a kind of input to ConvScope."""
