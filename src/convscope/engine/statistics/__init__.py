"""What is gathered over many inputs or many numbers: activation statistics, top inputs, similarity of maps."""
