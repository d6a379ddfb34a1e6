"""One served model: an engine, and all that follows from what the engine says of itself.

Everything that can go wrong with a template or a parser's name goes wrong here, at load, and not in a request.
"""

from __future__ import annotations

import logging
from typing import Literal, NamedTuple

import msgspec

from antiphon.engines import Description, Engine
from antiphon.errors import BadRequest
from antiphon.parsing.formats import (
    Format,
    Reasoning,
    format_named,
    reasoning_named,
    recognise_format,
    recognise_reasoning,
)
from antiphon.prompt.fence import Fence
from antiphon.prompt.lint import parting, problems
from antiphon.prompt.prompter import Prompter
from antiphon.prompt.render import Renderer
from antiphon.prompt.template import Template
from antiphon.prompt.thoughts import Thoughts
from antiphon.prompt.transcript import Seams, Shelf

log = logging.getLogger("antiphon")

_CHATML = (
    "{% for message in messages %}{{ '<|im_start|>' + message.role + '\n' + message.content + '<|im_end|>\n' }}"
    "{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)


class ModelCard(msgspec.Struct, frozen=True, kw_only=True):
    """What surfaces may tell of a served model. `window` and `max_output` are in tokens, `created` in Unix seconds;
    `parsers` says which parsers are in force and why."""

    name: str
    window: int
    max_output: int
    vision: bool
    thinking: bool
    created: int
    tool_call_parser: str = ""
    reasoning_parser: str = ""
    parsers: str = ""
    aliases: tuple[str, ...] = ()


class Choices(msgspec.Struct, frozen=True, kw_only=True):
    """What the operator chose for a model; empty or `auto` where the model decides. `chat_template` is its text."""

    name: str = ""
    aliases: tuple[str, ...] = ()
    tool_call_parser: str = "auto"
    reasoning_parser: str = "auto"
    chat_template: str = ""
    window: int = 0
    history_thinking: Literal["keep", "template"] = "keep"


class Model(NamedTuple):
    """A model that is ready to serve. `token_ids` holds the format's markers that are one control token each."""

    card: ModelCard
    engine: Engine
    description: Description
    prompter: Prompter
    format: Format
    reasoning: Reasoning
    visible: tuple[str, ...]
    token_ids: dict[str, int]


async def load(engine: Engine, choices: Choices, shelf: Shelf | None = None) -> Model:
    """The model that runs in the engine. What is said to it is remembered on the `shelf` too. Raises ValueError when a
    choice does not fit it."""
    described = await engine.describe()
    source = choices.chat_template or described.chat_template
    if not source:
        log.warning("the model has no chat template; ChatML is used")
        source = _CHATML
    template = Template(source, bos_token=described.bos_token, eos_token=described.eos_token)
    format, format_reason = chosen_format(template, choices.tool_call_parser)
    reasoning, reasoning_reason, thinks = chosen_reasoning(template, format, choices.reasoning_parser)
    markers = {*format.openers, *format.visible, *reasoning.opens, *reasoning.closes, *reasoning.dropped}
    control = set(described.control_tokens)
    visible = tuple(sorted(markers & control if control else markers))
    ids = {marker: await engine.tokenise([marker]) for marker in visible}
    window = min(choices.window or described.window, described.window)
    card = ModelCard(
        name=choices.name or described.model,
        aliases=choices.aliases,
        window=window,
        max_output=window,
        vision=described.vision,
        thinking=thinks,
        created=described.created,
        tool_call_parser=format.name,
        reasoning_parser=reasoning.name,
        parsers=f"{format.name} for tools ({format_reason}), {reasoning.name} for thinking ({reasoning_reason})",
    )
    renderer = Renderer(template, call_id=format.call_id, media_marker=described.media_marker)
    for problem in problems(renderer):
        log.warning("the chat template cannot render %s", problem)
    if place := parting(renderer):
        log.info("the chat template changes earlier turns as a conversation grows: %s", place)
    return Model(
        card=card,
        engine=engine,
        description=described,
        prompter=Prompter(
            renderer,
            Fence({*(control or markers), described.media_marker} - {""}, described.exact_cuts),
            Seams(renderer, control, described.eos_token),
            engine.tokenise,
            engine.picture_tokens,
            opens_thinking=reasoning.opened_by,
            ends_thinking=reasoning.cut_short,
            start=described.start,
            shelf=shelf,
            thoughts=Thoughts(renderer) if choices.history_thinking == "template" else None,
        ),
        format=format,
        reasoning=reasoning,
        visible=visible,
        token_ids={marker: found[0] for marker, found in ids.items() if len(found) == 1},
    )


def chosen_format(template: Template, chosen: str) -> tuple[Format, str]:
    """The format of calls, and why that one. Raises ValueError for an unknown name."""
    if chosen not in ("", "auto"):
        return format_named(chosen), "chosen"
    if not (template.takes_tools and template.takes_calls):
        return format_named("hermes"), "the chat template has no tools, so they go into the system prompt"
    found = recognise_format(template.source)
    if found is not None:
        return found, "recognised in the chat template"
    return format_named("hermes"), "the chat template takes tools but no known format was recognised in it"


def chosen_reasoning(template: Template, format: Format, chosen: str) -> tuple[Reasoning, str, bool]:
    """The marking of thinking, why that one, and whether the model is known to think. Raises ValueError for an unknown
    name."""
    if chosen not in ("", "auto"):
        named = reasoning_named(chosen)
        return named, "chosen", named.name != "none"
    found = recognise_reasoning(template.source)
    if found is not None:
        return found, "recognised in the chat template", True
    try:
        tail = template.render([{"role": "user", "content": "probe"}])
    except BadRequest:
        tail = ""
    default = reasoning_named(format.reasoning)
    opened = default.opened_by(tail)
    return default, "the prompt opens it" if opened else "in case the model thinks by itself", opened
