"""The queue of background work: nothing blocks the event loop, similar jobs run as one batch, unwatched jobs stop.

job.py          one job: progress, intermediate picture, result
work_queue.py   the queues in which jobs wait: one for quick jobs, one for long ones
workers.py      the worker threads and the list of all jobs
results.py      results, cached by content within a memory limit
async_wait.py   waiting for a job without blocking the event loop
"""
