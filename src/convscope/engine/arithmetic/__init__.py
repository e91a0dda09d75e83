"""The arithmetic behind one value of a layer's output: its operands and formula, operation by operation.

    tracing.py          which operations computed a layer's output, and which follow it
    output_index.py     which unit and position of a layer's output is meant
    evaluation.py       one operation evaluated at one index: operands, formula, value
    op_table.py         which function evaluates which operation
    unit_evaluation.py  a layer's operations evaluated one after the other
    convolutions.py pools.py norms.py pointwise.py     the functions that evaluate operations

Operations rather than modules are evaluated: those that a layer's forward called, with the arguments it passed. Weight
norm, padding modes, functional calls and custom convolution classes need no special case.
"""
