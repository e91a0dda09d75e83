"""Data sets: many inputs as one stream, and what is gathered over them in one pass with constant memory.

dataset.py      the stream: prepared chunks, decoded ahead, with what could not be read written down
sources.py      where members come from: folders, lists, samples, tensors, torch data sets, anything that passes by
channels.py     any layer's output as images, channels, positions
loggrid.py      a histogram that needs no second look
statistics.py   what the numbers of every layer are like
parameters.py   the gradient of the loss to every parameter
winners.py      which inputs excite each channel most
"""
