"""Records of an event file: those that are complete are read, damage is named, and nothing is read twice."""

import struct
from pathlib import Path

from convscope.training.store.records import RecordFile, masked, read_record
from tests.training.logs import write_scalars


def test_a_file_cut_anywhere_gives_the_complete_records_and_continues_when_it_grows(tmp_path: Path) -> None:
    path = write_scalars(tmp_path, [(step, 0.5) for step in range(5)])
    whole = path.read_bytes()
    complete = [data for _, data in RecordFile(path).new_records()]
    assert len(complete) == 6  # the version, and five numbers
    for size in range(0, len(whole), 7):
        path.write_bytes(whole[:size])
        records = RecordFile(path)
        first = [data for _, data in records.new_records()]
        assert first == complete[: len(first)]
        assert records.broken is None
        path.write_bytes(whole)
        assert first + [data for _, data in records.new_records()] == complete
        assert list(records.new_records()) == []


def test_data_that_does_not_match_its_checksum_is_left_out_and_counted(tmp_path: Path) -> None:
    path = write_scalars(tmp_path, [(1, 0.5), (2, 0.25), (3, 0.125)])
    data = bytearray(path.read_bytes())
    positions = [position for position, _ in RecordFile(path).new_records()]
    data[positions[2] + 20] ^= 1
    path.write_bytes(data)
    records = RecordFile(path)
    assert [position for position, _ in records.new_records()] == [positions[0], positions[1], positions[3]]
    assert (records.skipped, records.broken) == (1, None)


def test_a_damaged_length_ends_the_file_with_the_place_named(tmp_path: Path) -> None:
    path = write_scalars(tmp_path, [(1, 0.5), (2, 0.25)])
    positions = [position for position, _ in RecordFile(path).new_records()]
    data = bytearray(path.read_bytes())
    data[positions[1] + 3] = 0xFF  # a length of gigabytes, which is not read
    path.write_bytes(data)
    records = RecordFile(path)
    assert len(list(records.new_records())) == 1
    assert f"damaged at byte {positions[1]} of {len(data)}; the 1 records before" in str(records.broken)


def test_a_foreign_file_is_no_event_file(tmp_path: Path) -> None:
    path = tmp_path / "events.out.tfevents.notes"
    path.write_text("epoch,loss\n1,0.5\n" * 3)
    records = RecordFile(path)
    assert list(records.new_records()) == []
    assert "no event file" in str(records.broken)


def test_the_checksums_are_those_of_the_format(tmp_path: Path) -> None:
    """From the description of TFRecord: rotate right by 15, add a constant; CRC-32C of '123456789' is e3069283."""
    from google_crc32c import value as crc32c

    assert crc32c(b"123456789") == 0xE3069283
    rotated = (0xE3069283 >> 15 | 0xE3069283 << 17) & 0xFFFFFFFF
    assert masked(0xE3069283) == (rotated + 0xA282EAD8) % 2**32
    path = tmp_path / "events.out.tfevents.1"
    length = struct.pack("<Q", 9)
    framed = length + struct.pack("<I", masked(crc32c(length))) + b"123456789" + struct.pack("<I", masked(0xE3069283))
    path.write_bytes(framed)
    assert list(RecordFile(path).new_records()) == [(0, b"123456789")]
    assert read_record(path, 0) == b"123456789"
