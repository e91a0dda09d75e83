"""How many bytes are free, and the refusal of what needs more before anything is computed.

Where the system does not say how much is free, nothing is refused: the computation then fails or is halved.
"""

from pathlib import Path

import torch

from convscope.errors import ConvScopeError

_MEMINFO = Path("/proc/meminfo")
_GROUP = Path("/sys/fs/cgroup")
"""The control group of the process, whose limit a container sets."""


class TooLittleMemory(ConvScopeError, MemoryError):
    """What a computation must hold at the same time does not fit into memory."""


def require_memory(needed: float, device: torch.device, subject: str, remedy: str) -> None:
    """Refuse what needs more bytes than are free.

    Args:
        needed: at least how many bytes are needed.
        subject: what needs them, as the beginning of the message.
        remedy: what to lower, as its end.

    Raises:
        TooLittleMemory: fewer are free.
    """
    free = free_bytes(device)
    if free is not None and needed > free:
        raise TooLittleMemory(
            f"{subject} needs at least {needed / 2**30:,.1f} GiB, and {free / 2**30:,.1f} GiB are free: {remedy}"
        )


def free_bytes(device: torch.device) -> int | None:
    """The bytes of memory that are free on a device, with swap; None where it is not known."""
    if device.type == "cuda":
        unused = torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)  # torch keeps it for itself
        return torch.cuda.mem_get_info(device)[0] + unused
    if device.type != "cpu" or not _MEMINFO.exists():
        return None
    sizes = _named_numbers(_MEMINFO)
    free = 1024 * (sizes.get("MemAvailable", 0) + sizes.get("SwapFree", 0))
    limit, used = _GROUP / "memory.max", _GROUP / "memory.current"
    if limit.exists() and used.exists() and limit.read_text().strip().isdecimal():
        files = _named_numbers(_GROUP / "memory.stat").get("inactive_file", 0)  # given back when memory is needed
        free = min(free, int(limit.read_text()) - int(used.read_text()) + files)
    return free


def _named_numbers(path: Path) -> dict[str, int]:
    """The numbers of a file with lines such as ``MemAvailable:  1024 kB``."""
    rows = (line.split() for line in path.read_text().splitlines())
    return {row[0].rstrip(":"): int(row[1]) for row in rows if len(row) > 1 and row[1].isdecimal()}
