"""What the network computes on an input or over a data set."""
