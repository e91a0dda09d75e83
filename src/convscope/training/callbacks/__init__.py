"""Callbacks that record trainings of other libraries, one library per file; importing a file imports its library."""
