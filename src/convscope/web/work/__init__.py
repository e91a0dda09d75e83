"""Long work without blocking: jobs in lines, workers that do them, results that are kept.

job.py        one piece of work: progress, live picture, what it found
line.py       the lines in which jobs wait; what is alike is done in one go
jobs.py       the workers, and all that they do
results.py    what was found, kept by content within a bound
waiting.py    waiting for a job without holding up the event loop
"""
