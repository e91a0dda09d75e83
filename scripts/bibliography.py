"""The bibliography, docs/references.bib, read by a BibTeX parser, and its entries as lines of a document."""

import functools
import re
from collections.abc import Mapping
from pathlib import Path

from pybtex.database import Entry, parse_string

FILE = Path(__file__).parents[1] / "docs/references.bib"
CITED = re.compile(r":cite:`(\w+)`")
"""A citation in a docstring."""

ADDRESSES = {
    "eprint": ("arXiv:", "https://arxiv.org/abs/"),
    "doi": ("doi:", "https://doi.org/"),
    "url": ("", ""),
}
"""Fields that say where an entry can be read: what is written before them, and before their link."""


def parsed(text: str) -> Mapping[str, Entry]:
    """The entries of a bibliography by key; a brace that is missing and a key that stands twice raise."""
    return dict(parse_string(text, "bibtex").entries)


@functools.cache
def bibliography() -> Mapping[str, Entry]:
    """The entries of this repository's bibliography."""
    return parsed(FILE.read_text("utf-8"))


def line(entry: Entry) -> str:
    """Authors, title, where and when it appeared, and its addresses as links."""
    authors = "; ".join(_plain(str(person)) for person in entry.persons["author"])
    appeared = ", ".join([*_places(entry), entry.fields["year"]])
    parts = [_sentence(authors), f"*{_plain(entry.fields['title'])}*.", _sentence(", ".join([appeared, *links(entry)]))]
    return " ".join(parts)


def links(entry: Entry) -> list[str]:
    """The addresses of an entry as Markdown links."""
    return [
        f"[{shown}{entry.fields[field]}]({address}{entry.fields[field]})" if shown else f"<{entry.fields[field]}>"
        for field, (shown, address) in ADDRESSES.items()
        if field in entry.fields
    ]


def _places(entry: Entry) -> list[str]:
    """In what it appeared and who published it; a preprint says so by its arXiv number."""
    fields = ("booktitle", "journal", "howpublished", "publisher", "institution")
    said = [_plain(entry.fields[field]) for field in fields if entry.fields.get(field, "arXiv") != "arXiv"]
    return [*said, *([f"report {entry.fields['number']}"] if "number" in entry.fields else [])]


def _plain(text: str) -> str:
    """Text without the braces that keep BibTeX from changing it."""
    return text.replace("{", "").replace("}", "")


def _sentence(text: str) -> str:
    return text if text.endswith(".") else f"{text}."
