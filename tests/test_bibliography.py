"""The bibliography is BibTeX, complete, and holds what the documentation cites and nothing else."""

import inspect
import re
import unicodedata
from pathlib import Path

import pytest
from pybtex.database import Entry
from pybtex.exceptions import PybtexError

import convscope as cs
from scripts.bibliography import ADDRESSES, CITED, FILE, bibliography, line, parsed

ROOT = Path(__file__).parents[1]
DOCSTRINGS = {spec.command: inspect.getdoc(spec.function) or "" for spec in cs.lenses()}
SOURCES = "".join(path.read_text("utf-8") for path in (ROOT / "src/convscope").rglob("*.py"))

SURNAMES = r"[A-Z][\w'-]+(?: et al\.|(?:, [A-Z][\w'-]+)* (?:and|&) [A-Z][\w'-]+)?"
NAMED = re.compile(rf"({SURNAMES})(?:'s \w+)? \(?(\d{{4}})\b")
"""An author, or several, with a year: ``Nie et al. 2018``, ``Covert and Lee (2021)``."""

PACKAGES = {
    "Captum": "kokhlikyan2020captum",
    "Lucid": "lucid2018",
    "pytorch-grad-cam": "gildenblat2021gradcam",
    "TorchCAM": "fernandez2020torchcam",
    "Zennit": "anders2021software",
    "``shap``": "shap2017",
}
"""Packages that a lens may name, by how it names them, and their entries."""

WHOLE = "@misc{one2020first,\n  title = {One}, author = {One, A.}, year = {2020}\n}\n"


def surname(name: str) -> str:
    """The first author's surname in plain letters, as keys have it."""
    first = re.split(r" et al\.|, | and | & ", name)[0].removesuffix("'s")
    plain = unicodedata.normalize("NFKD", first).encode("ascii", "ignore").decode()
    return re.sub(r"\W", "", plain).lower()


def test_the_bibliography_is_read_without_an_error() -> None:
    assert len(bibliography()) > len({spec.cite for spec in cs.lenses()})


@pytest.mark.parametrize(
    "broken",
    [
        WHOLE.rstrip("}\n") + WHOLE.replace("one2020first", "one2020second"),
        WHOLE.rstrip("}\n"),
        WHOLE + WHOLE,
    ],
    ids=["unclosed", "unclosed at the end", "doubled"],
)
def test_a_bibliography_with_an_entry_that_is(broken: str) -> None:
    assert list(parsed(WHOLE)) == ["one2020first"]
    with pytest.raises(PybtexError):
        parsed(broken)


def test_every_entry_is_cited() -> None:
    cited = set(CITED.findall(SOURCES)) | {spec.cite for spec in cs.lenses()}
    assert sorted(set(bibliography()) - cited) == []


def test_everything_cited_is_an_entry() -> None:
    cited = CITED.findall(SOURCES)
    assert len(cited) > len(DOCSTRINGS)
    assert sorted(set(cited) - set(bibliography())) == []


def test_no_work_has_two_entries() -> None:
    titles = [re.sub(r"\W", "", entry.fields["title"]).lower() for entry in bibliography().values()]
    assert sorted({title for title in titles if titles.count(title) > 1}) == []


@pytest.mark.parametrize("command", DOCSTRINGS)
def test_what_a_lens_names_in_its_text_it_cites(command: str) -> None:
    """An author with a year, and a package."""
    text = " ".join(DOCSTRINGS[command].split())
    keys = CITED.findall(text)
    entries = [bibliography()[key] for key in keys]
    cited = {(surname(str(e.persons["author"][0])), e.fields["year"]) for e in entries}
    named = {(surname(name), year) for name, year in NAMED.findall(text)}
    assert sorted(named - cited) == []
    assert {key for word, key in PACKAGES.items() if word in text} <= set(keys)


def test_the_test_above_finds_authors_and_their_years() -> None:
    text = "shown (Nie et al. 2018, Olah et al. 2017), of Covert and Lee (2021), Burt & Adelson 1983, by 4 in 2019"
    assert [(surname(name), year) for name, year in NAMED.findall(text)] == [
        ("nie", "2018"),
        ("olah", "2017"),
        ("covert", "2021"),
        ("burt", "1983"),
    ]


def test_every_entry_is_complete_and_its_key_is_author_and_year() -> None:
    assert {key: lacks for key, entry in bibliography().items() if (lacks := lacking(key, entry))} == {}


def lacking(key: str, entry: Entry) -> list[str]:
    """What is wrong with an entry or its key."""
    author, year = str(entry.persons["author"][0]), entry.fields["year"]
    expected = rf"{surname(author)}{year}" if "," in author else rf"\w+?{year}"  # a package has its own name
    wrong = {
        "a title": not entry.fields["title"],
        "an address: eprint, doi or url": not set(ADDRESSES) & set(entry.fields),
        "where it appeared": not {"journal", "booktitle", "howpublished", "institution"} & set(entry.fields),
        f"a key that begins with {expected}": not re.match(expected, key),
    }
    return [part for part, is_wrong in wrong.items() if is_wrong]


def test_the_test_above_finds_what_is_lacking() -> None:
    (entry,) = parsed(WHOLE).values()
    assert lacking("other2020key", entry) == [
        "an address: eprint, doi or url",
        "where it appeared",
        "a key that begins with one2020",
    ]


def test_an_entry_is_shown_with_all_it_holds() -> None:
    """Publisher, institution and addresses too, and no full stop twice."""
    text = (
        "@techreport{b1990x, title = {{T}}, author = {B, John S. and C, D.}, institution = {University}, number = {7}, "
        "year = {1990}, doi = {10.1/2}, eprint = {1.2}, url = {https://x.org}}"
    )
    assert line(parsed(text)["b1990x"]) == (
        "B, John S.; C, D. *T*. University, report 7, 1990, [arXiv:1.2](https://arxiv.org/abs/1.2), "
        "[doi:10.1/2](https://doi.org/10.1/2), <https://x.org>."
    )


def test_the_bibliography_of_the_documents_is_the_one_that_is_tested() -> None:
    assert FILE == ROOT / "docs/references.bib"
