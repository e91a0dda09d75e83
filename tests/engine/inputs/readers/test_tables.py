"""Tables of text as signals."""

from pathlib import Path

import numpy as np
import pytest

from convscope.engine.inputs.input_files import read_input
from convscope.errors import InputError


@pytest.mark.parametrize("mark", [",", ";", "\t", " "])
def test_columns_are_channels(tmp_path: Path, mark: str) -> None:
    (tmp_path / "a.csv").write_text(f"1{mark}2\n3{mark}4\n5{mark}6\n")
    raw = read_input(tmp_path / "a.csv")
    assert raw.values.tolist() == [[1, 3, 5], [2, 4, 6]]
    assert (raw.axes, raw.spacing) == (("time",), ())


def test_a_column_of_times_gives_the_rate_and_is_no_channel(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("time,MLII,V5\n0,1,2\n0.004,3,4\n0.008,5,6\n")
    raw = read_input(tmp_path / "a.csv")
    assert raw.values.tolist() == [[1, 3, 5], [2, 4, 6]]
    assert raw.spacing == pytest.approx((0.004,))
    assert (raw.unit, raw.channel_names) == ("s", ("MLII", "V5"))
    chosen = read_input(f"{tmp_path}/a.csv?columns=V5")
    assert (chosen.values.tolist(), chosen.channel_names) == ([[2, 4, 6]], ("V5",))
    assert np.array_equal(read_input(f"{tmp_path}/a.csv?columns=2").values, chosen.values)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("1,2\n3\n", "line 2 of 'a.csv' has 1 cells, the first has 2"),
        ("a,b\n1,2\n1,\n", "line 3 of 'a.csv' has no number in column 1: ''"),
        ("1\nnan\n", "line 2 of 'a.csv' has no number in column 0: 'nan'"),
        ("a,b\n", "names of columns, and no numbers"),
        ("# nothing\n\n", "holds no numbers"),
        ("time,x\n0,1\n1,1\n5,1\n6,1\n", "not equally spaced: 4 s between rows 1 and 2, 1 s elsewhere"),
    ],
)
def test_what_cannot_be_read_is_named(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "a.csv").write_text(text)
    with pytest.raises(InputError, match=message):
        read_input(tmp_path / "a.csv")


def test_unknown_columns_get_a_suggestion(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("MLII,V5\n1,2\n")
    with pytest.raises(InputError, match=r"no column 'V6'.*V5"):
        read_input(f"{tmp_path}/a.csv?columns=V6")
    (tmp_path / "b.csv").write_bytes(b"\xff\xfe\x00\x01,\x02")
    with pytest.raises(InputError, match="is no text"):
        read_input(tmp_path / "b.csv")
