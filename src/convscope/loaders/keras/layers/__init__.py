"""The translation of each kind of Keras layer to torch modules, one family per file."""
