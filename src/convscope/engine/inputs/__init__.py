"""Input specifications, batches of prepared images, readers of picture files, noise."""
