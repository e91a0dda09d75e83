"""One queue of long work: nothing blocks, what is alike is done in one go, what nobody watches stops.

job.py        one piece of work: progress, live picture, what it found
line.py       the lines in which jobs wait: the quick ones, and those that take long
workers.py    the threads that do them, and what they know of all jobs
results.py    what was found, kept by content within a bound
waiting.py    waiting for a job without holding up the event loop
"""
