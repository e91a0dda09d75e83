"""What the network consists of."""
