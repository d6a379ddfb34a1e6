"""Citations in a reply: a client reads the text without its tags, however it was cut, and what is cited is there."""

from __future__ import annotations

import random
import re

import pytest

from antiphon.api.citations import Citation, Source, written
from antiphon.api.events import Finished, Usage
from antiphon.api.reply import Reply, TextBlock, fold
from antiphon.parsing.citations import trigger
from antiphon.parsing.formats import format_named, reasoning_named
from antiphon.parsing.parser import Parser
from antiphon.prompt.citations import sentences
from antiphon.prompt.citations.labelling import Sources


def sources(*texts: str) -> tuple[Source, ...]:
    found = Sources()
    for index, text in enumerate(texts):
        found.add("text", index, sentences.of_text(text))
    return found.all()


GREEN, LONG = sources(
    "Grass is green. The sky is blue. Snow is white.", " ".join(f"This is number {n}." for n in range(40))
)


def read(*pieces: str, stop: tuple[str, ...] = (), thinks: bool = False) -> tuple[Reply, str | None]:
    reasoning = reasoning_named("think" if thinks else "none")
    parser = Parser(format_named("hermes"), reasoning, {}, new_id=lambda: "id", stop=stop, sources=(GREEN, LONG))
    events = [event for piece in pieces for event in parser.feed(piece)] + parser.finish()
    return fold([*events, Finished("end_turn", Usage(prompt=1))]), parser.stop_sequence


def told(raw: str) -> list[tuple[str, list[str]]]:
    blocks = read(raw)[0].blocks
    assert all(isinstance(block, TextBlock) for block in blocks)
    return [(block.text, [each.text for each in block.citations]) for block in blocks if isinstance(block, TextBlock)]


G, L = GREEN.label, LONG.label


@pytest.mark.parametrize(
    ("raw", "blocks"),
    [
        (f"So <cite {G}.1>it is green</cite>.", [("So ", []), ("it is green", ["Grass is green."]), (".", [])]),
        (f"<cite {G}.2-3>x</cite>", [("x", ["The sky is blue. Snow is white."])]),
        (f"<cite {G}.3-2>x</cite>", [("x", ["The sky is blue. Snow is white."])]),
        (f"<cite {G}.1,{L}.2>x</cite>", [("x", ["Grass is green.", "This is number 1."])]),
        (f'<cite index="{G}-1, {G}.1">x</cite>', [("x", ["Grass is green."])]),
        (f"a <cite {G}.4>b</cite> <cite zzzz.1>c</cite>", [("a b c", [])]),
        (f"<cite {G}.0,{G}.9-1>a</cite>", [("a", [])]),
        (
            f"<cite {G}.1>a</cite>\n\n<cite {G}.2>b</cite>\n",
            [("a", ["Grass is green."]), ("\n\nb\n", ["The sky is blue."])],
        ),
        (f"<cite {G}.1>a</cite> <cite {G}.1>b</cite>", [("a b", ["Grass is green."])]),
        (f"<cite {G}.1></cite>a", [("a", [])]),
        (f"<cite {G}.1>never closed\n\nnext", [("never closed", ["Grass is green."]), ("\n\nnext", [])]),
        (f"a <cite {G}.1", [("a", [])]),
        ("1 < 2 <", [("1 < 2 <", [])]),
        ("<cited> </citeless> <c", [("<cited> </citeless> <c", [])]),
    ],
)
def test_a_tag_means_its_citation(raw: str, blocks: list[tuple[str, list[str]]]) -> None:
    """What a tag means, and what is no tag."""
    assert [(text.strip(" "), cited) for text, cited in told(raw)] == [
        (text.strip(" "), cited) for text, cited in blocks
    ]


PIECES = [
    "Grass",
    " ",
    "\n\n",
    "\n",
    "<",
    "</cite>",
    "<cite ",
    ">",
    f"<cite {G}.1>",
    f"<cite {G}.2-3,{L}.40>",
    "<cite zz.1>",
    "<cite >",
    ".",
    "STOP",
    "ST",
    f"{G}.1",
    "<think>",
    "</think>",
    "a < b",
    "</cit",
    "</cite",
    "<tool_call>",
]


@pytest.mark.parametrize("seed", range(150))
def test_cutting_an_output_changes_no_citation(seed: int) -> None:
    """However an output is cut, the reply is the same; no block is empty, and every citation is at its place in its
    source."""
    source = random.Random(seed)
    raw = "".join(source.choices(PIECES, k=source.randint(1, 25)))
    stop = source.choice([(), ("STOP",), ("n. ", "Grass\n")])
    whole = read(raw, stop=stop, thinks=True)
    assert read(*raw, stop=stop, thinks=True) == whole
    for _ in range(10):
        places = sorted(source.sample(range(len(raw) + 1), min(len(raw), source.randint(0, 6))))
        assert (
            read(*(raw[a:b] for a, b in zip([0, *places], [*places, len(raw)], strict=True)), stop=stop, thinks=True)
            == whole
        )
    for block in whole[0].blocks:
        if isinstance(block, TextBlock):
            assert block.text
            assert not any(sequence in block.text for sequence in stop)
            for citation in block.citations:
                assert source_text(citation.source)[citation.start : citation.end] == citation.text


def source_text(source: Source) -> str:
    return source.text(0, len(source.passages))


def test_stop_sequences_are_found_in_what_the_client_sees() -> None:
    """A stop sequence may begin within a tag's text and end behind it; what is in a label is none."""
    reply, found = read(f"It <cite {G}.1>is green</cite>. And", stop=("green.",))
    assert found == "green."
    assert "".join(block.text for block in reply.blocks if isinstance(block, TextBlock)) == "It is "
    assert read(f"<cite {G}.1>is</cite>", stop=(f"{G}", ".1"))[1] is None


def test_what_is_written_is_read() -> None:
    """The tag of a citation is read as that citation."""
    source = random.Random(3)
    for _ in range(300):
        chosen = source.choice((GREEN, LONG))
        first, stop = sorted(source.sample(range(len(chosen.passages) + 1), 2))
        reply, _ = read(written("words", [Citation(chosen, first, stop)]))
        assert reply.blocks == (TextBlock("words", (Citation(chosen, first, stop),)),)


@pytest.mark.parametrize("count", [1, 2, 9, 10, 11, 99, 100, 101, 365, 1000])
def test_only_labels_that_exist_can_be_written(count: int) -> None:
    """The grammar takes the numbers from 1 to the last passage's, and no others."""
    (source,) = sources(" ".join(f"This is number {n}." for n in range(count)))
    ((opener, node),) = trigger([source])
    pattern = re.compile(node.regex)  # type: ignore[union-attr]
    assert opener == "<cite "
    for number in range(1200):
        assert bool(pattern.fullmatch(f"{source.label}.{number}>")) == (1 <= number <= count)
    assert pattern.fullmatch(f"{source.label}.1-{count},{source.label}.{count}>")
    assert not pattern.fullmatch(f"{source.label}.01>")
    assert not pattern.fullmatch(">")
