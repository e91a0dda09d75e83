"""What the network is built of."""
