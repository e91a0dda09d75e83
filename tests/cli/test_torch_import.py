"""The garbage collector pauses while torch is imported, in the process of a command only."""

import gc
import subprocess
import sys
from pathlib import Path

from convscope.cli.torch_import import import_torch


def test_the_collector_pauses_for_the_import_and_then_skips_what_exists(tmp_path: Path) -> None:
    (tmp_path / "torch.py").write_text("import gc\nassert not gc.isenabled()\n")  # stands for torch
    script = (
        f"import sys, gc; sys.path.insert(0, {str(tmp_path)!r})\n"
        "from convscope.cli.torch_import import import_torch\n"
        "import_torch()\n"
        f"assert sys.modules['torch'].__file__.startswith({str(tmp_path)!r})\n"
        "assert gc.isenabled() and gc.get_freeze_count() > 1000\n"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_the_collector_is_left_alone_where_torch_is_imported_already() -> None:
    import torch

    assert sys.modules["torch"] is torch
    frozen = gc.get_freeze_count()
    import_torch()
    assert (gc.isenabled(), gc.get_freeze_count()) == (True, frozen)
