"""The parts of the page Compare: the cells, and the difference of two of them."""
