"""Pictures drawn by climbing: what makes a unit, a class or a whole layer answer most, found by gradient ascent.

One climb is made of five parts, each a pure function and each replaceable:

    objectives.py        what is climbed: a number per picture, read off layers; they add up and carry their words
    canvas.py            where pictures are drawn: extent, range and colours of the network's prepared input
    parametrisations.py  what is turned: pixels, Fourier coefficients, phases alone, a pyramid
    transforms.py        how a picture is shaken before the network sees it, so that no single pixel can cheat
    regularisers.py      what a picture pays for, and what is done to it between steps
    cut.py               the network up to the last layer that is read; nothing above it is computed
    climb.py             the loop: Adam, the best picture so far, cancelling, dead starts
    octaves.py           a photograph drawn over at several sizes, the coarse first
    pictures.py          from where a climb led to the value that people get
    reading.py           the objectives that people write: ``layer3[12] - 0.5 * layer3[40]``
"""
