"""What lies between a call and a lens: the decorator, its arguments, several lenses at once, smoothing, values."""
