"""Data sets: many inputs as one stream of prepared chunks, in constant memory.

data_set.py   the stream: prepared chunks, decoded ahead of time, with a record of files that cannot be read
sources.py    where members come from: folders, lists, samples, tensors, torch data sets, iterables
"""
