"""What is free is read from the system; what needs more is refused with both sizes."""

from pathlib import Path

import pytest
import torch

from convscope.engine.context import free_memory
from convscope.engine.context.free_memory import TooLittleMemory, free_bytes, require_memory

CPU = torch.device("cpu")


def write_system(folder: Path, monkeypatch: pytest.MonkeyPatch, limit: str) -> None:
    (folder / "meminfo").write_text(
        "MemTotal: 9000 kB\nMemAvailable:   3000 kB\nHugePages_Total: 0\nSwapFree: 1000 kB\n"
    )
    (folder / "memory.max").write_text(f"{limit}\n")
    (folder / "memory.current").write_text("500000\n")
    (folder / "memory.stat").write_text("anon 400000\ninactive_file 100000\n")
    monkeypatch.setattr(free_memory, "_MEMINFO", folder / "meminfo")
    monkeypatch.setattr(free_memory, "_GROUP", folder)


@pytest.mark.parametrize(
    ("limit", "expected"), [("max", 4000 * 1024), ("2000000", 1_600_000), ("9000000", 4000 * 1024)]
)
def test_the_system_and_its_control_group_limit_memory(
    limit: str, expected: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_system(tmp_path, monkeypatch, limit)
    assert free_bytes(CPU) == expected


def test_where_the_system_says_nothing_nothing_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(free_memory, "_MEMINFO", tmp_path / "absent")
    assert free_bytes(CPU) is None
    require_memory(2**60, CPU, "this", "lower it")


def test_a_refusal_names_both_sizes_and_what_to_lower(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(free_memory, "free_bytes", lambda _device: 3 * 2**30)
    require_memory(3 * 2**30, CPU, "this", "lower it")
    with pytest.raises(TooLittleMemory, match=r"^this needs at least 20.0 GiB, and 3.0 GiB are free: lower it$"):
        require_memory(20 * 2**30, CPU, "this", "lower it")
