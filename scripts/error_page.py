"""The page of errors, from the docstrings of `convscope.errors`."""

import inspect

from convscope import errors
from convscope.errors import ConvScopeError

HEAD = """# Errors

Written by `make generate` from `convscope/errors.py`. Every error that a caller can cause is a `ConvScopeError`, and of
one of Python's own types as well. On the command line it is one sentence on standard error and exit status 2 (1 for a
failure while a lens runs); the HTTP API answers with a 4xx status and the same sentence.
"""


def error_page() -> str:
    """One section per class: when it is raised, its built-in type, and what to do."""
    return "\n".join([HEAD, *(_section(error) for error in _tree(ConvScopeError))])


def _tree(error: type[ConvScopeError]) -> list[type[ConvScopeError]]:
    """A class and those derived from it, in the order of the file."""
    classes = [cls for cls in vars(errors).values() if inspect.isclass(cls) and issubclass(cls, error)]
    derived = [cls for cls in classes if error in cls.__bases__]
    return [error, *(cls for child in derived for cls in _tree(child))]


def _section(error: type[ConvScopeError]) -> str:
    when, _, advice = (inspect.getdoc(error) or "").partition("What to do: ")
    builtin = next((cls.__name__ for cls in error.__mro__[1:] if cls.__module__ == "builtins"), "Exception")
    advice = " ".join(advice.split())
    return f"## {error.__name__}\n\n{when.strip()}\n\n- Also of type `{builtin}`.\n- **What to do:** {advice}\n"
