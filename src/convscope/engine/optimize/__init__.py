"""Feature visualization by optimization: an input that maximizes a unit, a class or a whole layer, by gradient ascent.

The parts are independent and can be replaced one by one:

    objectives.py        what is maximized: one number per picture, computed from layer activations
    picture_space.py     shape, value range and color correlation of the network's prepared input
    parametrizations.py  what is optimized: pixels, Fourier coefficients, phases only, or a Laplacian pyramid
    transforms.py        random transformations of the picture before each forward pass (transformation robustness)
    regularizers.py      penalties on the picture, and operators applied to the pixels after each step
    truncated_network.py the network up to the last layer that the objective reads
    loop.py              the optimization loop: Adam, best picture so far, cancellation, units without gradient
    octaves.py           optimization at several image sizes, coarse to fine
    results.py           from the result of the loop to the value that a lens returns
    objective_parser.py  objectives written as text: ``layer3[12] - 0.5 * layer3[40]``
"""
