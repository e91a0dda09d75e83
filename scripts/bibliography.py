"""The bibliography, docs/references.bib, parsed as BibTeX, and its entries formatted as Markdown."""

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
"""Fields with the address of an entry: the prefix of the displayed text, and of the link."""


def parsed(text: str) -> Mapping[str, Entry]:
    """The entries of a bibliography by key; a missing brace or a duplicate key raises an error."""
    return dict(parse_string(text, "bibtex").entries)


@functools.cache
def bibliography() -> Mapping[str, Entry]:
    """The entries of this repository's bibliography."""
    return parsed(FILE.read_text("utf-8"))


def line(entry: Entry) -> str:
    """Authors, title, venue, year, and addresses as links."""
    authors = "; ".join(_plain(str(person)) for person in entry.persons["author"])
    venue_and_year = ", ".join([*_venue(entry), entry.fields["year"]])
    title = f"*{_plain(entry.fields['title'])}*."
    return " ".join([_sentence(authors), title, _sentence(", ".join([venue_and_year, *links(entry)]))])


def links(entry: Entry) -> list[str]:
    """The addresses of an entry as Markdown links."""
    return [
        f"[{prefix}{entry.fields[field]}]({address}{entry.fields[field]})" if prefix else f"<{entry.fields[field]}>"
        for field, (prefix, address) in ADDRESSES.items()
        if field in entry.fields
    ]


def _venue(entry: Entry) -> list[str]:
    """Book, journal or publisher; empty for a preprint, whose arXiv number is a link."""
    fields = ("booktitle", "journal", "howpublished", "publisher", "institution")
    names = [_plain(entry.fields[field]) for field in fields if entry.fields.get(field, "arXiv") != "arXiv"]
    return [*names, *([f"report {entry.fields['number']}"] if "number" in entry.fields else [])]


def _plain(text: str) -> str:
    """The text without the braces that protect it in BibTeX."""
    return text.replace("{", "").replace("}", "")


def _sentence(text: str) -> str:
    return text if text.endswith(".") else f"{text}."
