"""What is explained: from what people write to one number per image."""
