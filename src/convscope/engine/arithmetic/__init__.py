"""One number of a network worked out by hand: the operands it was made of, operation by operation.

    watching.py      which operations made a layer's output, and which follow it
    places.py        which unit and position of a layer's output is meant
    worked.py        one operation worked out at one place: operands, formula, value
    recipes.py       which operation is worked out how
    convolutions.py pools.py norms.py pointwise.py     the recipes

Operations and not modules are worked out: what a layer's forward called, with the arguments it called it with. Weight
norm, padding modes, functional calls and the user's own convolution classes need no special case.
"""
