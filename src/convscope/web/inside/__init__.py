"""What the page Inside is made of: the graph beside a module, and beside that one of its units."""
