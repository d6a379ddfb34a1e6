"""What is found out about a template at load: where a growing prompt is no prefix of itself."""

from __future__ import annotations

import logging

import pytest

from antiphon.engines.scripted import Script, Scripted
from antiphon.prompt.templates.lint import describe, parting
from antiphon.serving.model import Choices
from antiphon.serving.token_model import load
from tests.prompt.templates.test_render import SMALL, TEMPLATES, renderer

FORGETFUL = (
    "{% for m in messages %}<|im_start|>{{ m.role }}\n"
    "{% if m.reasoning_content and loop.last %}<think>{{ m.reasoning_content }}</think>{% endif %}"
    "{{ m.content }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n<think>\n{% endif %}"
)


def test_a_template_that_appends_is_not_complained_about() -> None:
    """A template that only ever appends is not complained about."""
    assert parting(renderer("chatml")) is None


@pytest.mark.parametrize("name", TEMPLATES)
async def test_every_template_is_judged(name: str) -> None:
    """Whatever the template, the answer is nothing, or the first token in which two prompts part and those around."""
    found, engine = parting(renderer(name)), Scripted(Script())
    if found is not None:
        place = await describe(found, engine.tokenise, engine.spell)
        number = int(place.partition("at token ")[2].partition(",")[0])
        one, other = [await engine.tokenise([text]) for text in (found.before, found.after)]
        assert one[:number] == other[:number]
        assert one[number : number + 1] != other[number : number + 1]
        assert len(place) < 700


async def test_told_once_at_load(caplog: pytest.LogCaptureFixture) -> None:
    """A template whose opening of the reply is not in the history is told of once, with the text around the place."""
    for source, expected in ((SMALL["chatml"], 0), (FORGETFUL, 1)):
        caplog.clear()
        with caplog.at_level(logging.INFO, "antiphon"):
            await load(Scripted(Script(template=source)), Choices())
        describe = [record.getMessage() for record in caplog.records if "changes earlier turns" in record.getMessage()]
        assert len(describe) == expected
        assert all(r"assistant\n<think>\n" in message for message in describe)
