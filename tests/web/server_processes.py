"""Workbenches as processes, forked from one that has imported everything, which takes seconds.

Run as ``python -m tests.web.server_processes FD`` it is that process; `Forker` starts it and talks to it.
"""

import gc
import json
import os
import resource
import signal
import socket
import subprocess
import sys
import tempfile
from functools import cache
from typing import Any

FORK, WAIT = "fork", "wait"
"""What the process can be asked for."""


class Forker:
    """A process that forks workbenches. It ends with this one, and they with it."""

    def __init__(self) -> None:
        self._socket, other_end = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        settings = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": os.pathsep.join(sys.path)}
        settings = {name: value for name, value in settings.items() if not name.startswith("PYTEST")}
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.web.server_processes", str(other_end.fileno())],
            env=settings,
            pass_fds=[other_end.fileno()],
        )
        other_end.close()

    def fork(self, options: dict[str, Any], folder: str, output: int, error_output: int) -> int:
        """Start a workbench, and give its process id.

        Args:
            options: of ``convscope.web.server.app.serve``, and ``largest_file``.
            folder: its folder for temporary files.
            output: the file descriptor of its standard output.
            error_output: the file descriptor of its standard error.
        """
        request = json.dumps([FORK, options, folder]).encode()
        socket.send_fds(self._socket, [request], [output, error_output])
        return int(self._socket.recv(100))

    def wait(self, process: int) -> None:
        """Wait until a workbench has ended."""
        self._socket.send(json.dumps([WAIT, process]).encode())
        self._socket.recv(100)

    def close(self) -> None:
        """End the process."""
        self._socket.close()
        self._process.wait()


@cache
def shared_forker() -> Forker:
    """The process from which most workbenches are forked."""
    return Forker()


def answer_requests(requests: socket.socket) -> None:
    """Fork workbenches and wait for their ends, until the other end of the socket is closed."""
    running: set[int] = set()
    while True:
        message, files, *_ = socket.recv_fds(requests, 2**16, 2)
        if not message:
            break
        action, *arguments = json.loads(message)
        if action == FORK:
            process = os.fork()
            if process == 0:
                requests.close()
                run_workbench(*arguments, *files)
                return
            for file in files:
                os.close(file)
            running.add(process)
            requests.send(str(process).encode())
        else:
            os.waitpid(arguments[0], 0)
            running.remove(arguments[0])
            requests.send(b"ended")
    for process in running:
        os.kill(process, signal.SIGKILL)


def run_workbench(options: dict[str, Any], folder: str, output: int, error_output: int) -> None:
    """Serve; print a line when the server listens, and one for each job that is finished."""
    from convscope.web.jobs.job import Job
    from convscope.web.server.app import serve

    os.dup2(output, 1)
    os.dup2(error_output, 2)
    os.environ["TMPDIR"] = tempfile.tempdir = folder
    mark_finished = Job.mark_finished

    def announce_finished(job: Job) -> None:
        mark_finished(job)
        print("finished", job.id, flush=True)  # noqa: T201

    Job.mark_finished = announce_finished  # type: ignore[assignment, method-assign]
    if (largest_file := options.pop("largest_file")) is not None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (largest_file, largest_file))
    serve(**options, ready=lambda address: print("ready", flush=True))  # noqa: T201


def import_everything() -> None:
    """Import what pages need, without a computation that would start a thread."""
    import torch

    import convscope as cs
    from convscope.catalogue import lenses
    from convscope.web.server import app

    torch.set_num_threads(1)
    for spec in lenses():
        getattr(cs, spec.name)
    for address in app.MODELS:
        cs.load(address)
    gc.collect()
    gc.freeze()  # no collection of a forked process scans, and thereby copies, what is imported here


if __name__ == "__main__":
    import_everything()
    answer_requests(socket.socket(fileno=int(sys.argv[1])))
