"""What surrounds a run: hooks and ports, chunk sizes, metering and progress."""
