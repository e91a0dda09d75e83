"""Input specifications, readers of input files, batches of prepared inputs, noise."""
