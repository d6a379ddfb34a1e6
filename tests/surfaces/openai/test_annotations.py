"""Citations as annotations of a text, and back."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from antiphon.api.citations import Citation, written
from antiphon.prompt.citations.labelling import Sources
from antiphon.prompt.citations.sentences import of_text
from antiphon.surfaces.openai.annotations import Annotations, text_with_citations

FOUND = Sources()
PAGES = [
    FOUND.add("web_search_result", 0, of_text(text), title=title, address=f"https://{title or 'x'}.example")
    for title, text in (("bees", "Bees fly. They hum. They sting."), ("", "Wasps fly. They sting."))
]
ALL = [page.cite(first, stop) for page in PAGES for stop in range(1, len(page.passages) + 1) for first in range(stop)]
CITED = st.lists(st.sampled_from(ALL), max_size=4).map(tuple)
STRETCHES = st.lists(st.tuples(st.text(min_size=1, max_size=5), CITED), max_size=5)


@given(STRETCHES)
def test_what_is_told_is_read_again(stretches: list[tuple[str, tuple[Citation, ...]]]) -> None:
    """A text and its annotations are the text as the model wrote it; each is told once its stretch has ended, in the
    place that it has among all."""
    annotations, told = Annotations(), []
    for text, citations in [*stretches, ("", ())]:
        told += annotations.cite(citations)
        annotations.grow(len(text))
    assert told == list(enumerate(annotations.all()))
    fields: list[Any] = [msgspec.to_builtins(each) for each in annotations.all()]
    said = "".join(text for text, _ in stretches)
    assert text_with_citations(said, fields, FOUND.all()) == "".join(written(*each) for each in stretches)


def test_a_page_is_told_once_for_a_stretch() -> None:
    """However many of its passages are cited, by its title or else its address."""
    annotations = Annotations([PAGES[0].cite(0, 1), PAGES[0].cite(2, 3), PAGES[1].cite(0, 1)])
    annotations.grow(4)
    assert [(each.start_index, each.end_index, each.title, each.url) for each in annotations.all()] == [
        (0, 4, "bees", "https://bees.example"),
        (0, 4, "https://x.example", "https://x.example"),
    ]


@pytest.mark.parametrize(
    "changed",
    [
        {"encrypted_index": "?"},
        {"encrypted_index": None},
        {"end_index": 99},
        {"start_index": 3, "end_index": 3},
        {"start_index": -1},
        {"start_index": "0"},
        {"start_index": None},
    ],
)
def test_an_annotation_that_names_nothing(changed: dict[str, Any]) -> None:
    """Is dropped, and the text stays."""
    annotations = Annotations([PAGES[0].cite(0, 1)])
    annotations.grow(4)
    fields = {**msgspec.to_builtins(annotations.all()[0]), **changed}
    assert text_with_citations("They fly.", [fields, {}], FOUND.all()) == "They fly."
    assert text_with_citations("They fly.", [fields, {}], ()) == "They fly."
