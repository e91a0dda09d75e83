"""What the network predicts."""
