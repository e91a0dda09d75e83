"""Errors: one tree of classes, and suggestions of the nearest name."""

import pytest

from convscope import errors
from convscope.errors import (
    CannotWrite,
    ConvScopeError,
    InputError,
    MissingExtra,
    did_you_mean,
    install_command,
)


def test_every_error_is_of_the_tree_and_of_pythons_own_kind() -> None:
    kinds = [
        e
        for e in vars(errors).values()
        if isinstance(e, type) and issubclass(e, ConvScopeError) and e is not ConvScopeError
    ]
    assert len(kinds) >= 11
    for kind in kinds:
        assert any(
            issubclass(kind, python)
            for python in (ValueError, LookupError, TypeError, RuntimeError, ImportError, OSError)
        )
        assert kind.__name__ in (errors.__doc__ or "")
    assert str(MissingExtra("timm", "models")) == f"this needs the package 'timm': {install_command('models')}"


@pytest.mark.parametrize(
    ("name", "known", "clause"),
    [
        ("layer4.conv2", ["layer1.0.conv2", "layer4.0.conv2"], "; did you mean 'layer4.0.conv2'?"),
        ("TABBY", ["tabby", "tench"], "; did you mean 'tabby'?"),
        ("tabby cat", ["tabby", "Tabby Cat"], "; did you mean 'Tabby Cat'?"),
        ("zeppelin", ["tabby"], ""),
        ("", ["tabby"], ""),
        ("x", [], ""),
    ],
)
def test_the_nearest_name_is_suggested(name: str, known: list[str], clause: str) -> None:
    assert did_you_mean(name, known) == clause


def test_all_errors_have_a_common_base_class() -> None:
    for error in (CannotWrite, InputError):
        assert issubclass(error, ConvScopeError)
