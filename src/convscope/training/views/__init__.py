"""Views of a log: each file declares one; `catalogue` lists them in the order in which they are shown."""
