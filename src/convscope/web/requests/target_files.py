"""Targets that name a file: what stands on the server's disk is no part of a request."""

from convscope.errors import ParameterError
from convscope.spec.tasks import TASKS

_SAMPLE = "sample:"


def refuse_files(target: str) -> None:
    """Refuse a target that would read a file, such as ``like:photo.jpg`` or ``cat in mask.png``; samples are offered.

    Raises:
        ParameterError: it names a file.
    """
    TASKS.fill()
    for part in (target, *target.split(" - ")):
        for task in TASKS.values():
            file = task.file_of(part.strip())
            if file and not file.startswith(_SAMPLE):
                raise ParameterError(
                    f"the target {target!r} names the file {file!r}, and the server reads none of its files: use "
                    "Python or the command line for it"
                )
