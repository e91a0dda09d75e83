"""Watch a network learn: record a training, draw its log, and say what is wrong with it.

store/      the log on disk: event files of TensorBoard, and NPZ files beside them
run.py      a log as runs with their numbers, histograms, pictures and texts
    views/      what is drawn of a log, one view per file; report.py writes them into one HTML file
"""
