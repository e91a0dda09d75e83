"""Operations as function modes see them: their kind, their arguments and the module that calls them."""
