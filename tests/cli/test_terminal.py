"""Output to terminals with limited encodings."""

import json

SHAPES = ("--model", "bundled:shapes")


def test_unsupported_characters_are_replaced(process) -> None:
    encoding = "ascii"
    done = process("grad-cam", "sample:shapes/7", *SHAPES, "--out", "a.json", env={"PYTHONIOENCODING": encoding})
    assert done.returncode == 0, done.stderr
    assert "explains crescent" in done.stdout
    assert process("grad-cam", "--help", env={"PYTHONIOENCODING": encoding}).returncode == 0


def test_json_is_the_same_for_limited_encodings(process) -> None:
    outputs = [
        process("lenses", "--json", env={"PYTHONIOENCODING": encoding}).stdout.encode().decode(encoding)
        for encoding in ("ascii", "utf-8")
    ]
    assert json.loads(outputs[0]) == json.loads(outputs[1])
