"""Sources as the model is shown them: where passages are, and what they are called."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from antiphon.prompt.citations import sentences
from antiphon.prompt.citations.labelling import INSTRUCTIONS, Sources, shown

MANY_SCRIPTS = "Dr. Ada met him. 這是第一句。這是第二句！ यह एक वाक्य है। هل هذا سؤال؟ نعم.\n\nNext."


def test_sentences_in_any_script() -> None:
    """Sentences end where their own script ends them, and not at an abbreviation."""
    found = [passage.text for passage in sentences.of_text(MANY_SCRIPTS)]
    assert found == [
        "Dr. Ada met him.",
        "這是第一句。",
        "這是第二句！",
        "यह एक वाक्य है।",
        "هل هذا سؤال؟",
        "نعم.",
        "Next.",
    ]


@settings(max_examples=200, deadline=None)
@given(st.text(alphabet=st.sampled_from("ab.!? \n\t。🎉\ud800\u00a0é")))
def test_a_passage_is_at_its_place(text: str) -> None:
    """Every passage is the text from its start to its end, white space outside; together they are all of the text."""
    found = sentences.of_text(text)
    for passage in found:
        assert text[passage.start : passage.end] == passage.text == passage.text.strip() != ""
    assert "".join(passage.text + passage.gap for passage in found).strip() == text.strip()


def test_what_has_no_sentences_is_cut_at_lines() -> None:
    """A long table is many passages, each a whole number of lines."""
    text = "a | b | c\n" * 2000
    found = sentences.of_text(text)
    assert len(found) > 5
    assert all(text[passage.start - 1 : passage.start] in ("", "\n") for passage in found)


def test_pages_keep_their_numbers() -> None:
    """A page without text has no passages, and the next still has its own number."""
    found = sentences.of_pages(["One. Two.", "", "Three."])
    assert [(passage.text, passage.start, passage.end) for passage in found] == [
        ("One.", 1, 2),
        ("Two.", 1, 2),
        ("Three.", 3, 4),
    ]


def test_a_label_is_the_documents_own() -> None:
    """The same document has the same label beside any others, and twice in one conversation."""
    passages = sentences.of_text("It is green.")
    alone = Sources().add("text", 0, passages, title="t")
    sources = Sources()
    for index in range(300):
        sources.add("text", index, sentences.of_text(f"Number {index}."))
    later = sources.add("text", 300, passages, title="t")
    again = sources.add("text", 301, passages, title="t")
    assert later.label.startswith(alone.label)
    assert later.label == again.label
    assert len({source.label for source in sources.all()}) == 301


def test_instructions_stand_once() -> None:
    """How to cite is said before the first source alone."""
    sources = Sources()
    assert sources.instructions() == INSTRUCTIONS
    source = sources.add("blocks", 0, sentences.of_blocks(["one", None, "two"]))
    assert sources.instructions() == ""
    assert shown(source) == "[1] one\n[2] two"
