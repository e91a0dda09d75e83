"""What the network computes on one input or over a data set."""
