"""Makes a model of an engine.

Everything that can go wrong with a template or a parser's name goes wrong here, and not in a request.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable

from antiphon.engines import Description, Engine
from antiphon.parsing.formats import Format
from antiphon.parsing.turn import turn_ends
from antiphon.prompt.fence import Fence
from antiphon.prompt.prefix.seams import Seams
from antiphon.prompt.prefix.transcript import TranscriptStore
from antiphon.prompt.prompter import Prompter
from antiphon.prompt.templates.lint import describe, parting, problems
from antiphon.prompt.templates.render import Renderer
from antiphon.prompt.templates.template import Template
from antiphon.prompt.templates.thoughts import Thoughts
from antiphon.serving.model import Choices, ModelCard
from antiphon.serving.token_model.format_selection import FormatSelection, select_formats
from antiphon.serving.token_model.grammar_cache import GrammarCache
from antiphon.serving.token_model.model import TokenModel

log = logging.getLogger("antiphon")

_CHATML = (
    "{% for message in messages %}{{ '<|im_start|>' + message.role + '\n' + message.content + '<|im_end|>\n' }}"
    "{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)


async def load(engine: Engine, choices: Choices, transcripts: TranscriptStore | None = None) -> TokenModel:
    """The model that runs in the engine. What is said to it is remembered in the `transcripts` too. Raises ValueError
    when a choice does not fit it."""
    described = await engine.describe()
    source = choices.chat_template or described.chat_template
    if not source:
        log.warning("the model has no chat template; ChatML is used")
        source = _CHATML
    template = Template(source, bos_token=described.bos_token, eos_token=described.eos_token)
    selection = select_formats(template, choices)
    visible = _visible(selection, described)
    ends = _ends(described, selection.format)
    written = _written(described, source, visible, ends)
    ids = await _token_ids(engine, {*written, *ends})
    token_ids = {text: ids[text] for text in written if text in ids}
    return TokenModel(
        card=_card(choices, described, selection),
        engine=engine,
        description=described,
        prompter=await _prompter(engine, described, template, selection, choices, transcripts),
        format=selection.format,
        reasoning=selection.reasoning,
        visible=visible,
        token_ids=token_ids,
        grammars=GrammarCache(token_ids.get, choices.hold_calls, [ids[text] for text in ends if text in ids]),
    )


def _visible(selection: FormatSelection, described: Description) -> tuple[str, ...]:
    """The markers whose text must appear in the output, as far as they are control tokens."""
    markers, control = selection.markers, set(described.control_tokens)
    return tuple(sorted(markers & control if control else markers))


def _written(described: Description, source: str, visible: tuple[str, ...], ends: list[str]) -> set[str]:
    """The control tokens that may stand in the output. A model may write any control token that its template has, and
    end its turn with another than the usual one."""
    control = described.control_tokens
    return {*visible, *({token for token in control if token in source or token in ends} - {described.eos_token})}


def _ends(described: Description, format: Format) -> list[str]:
    """The tokens that end a turn, the usual one first."""
    known = turn_ends(format)
    ends = [described.eos_token, *(token for token in described.control_tokens if token in known)]
    return [text for text in dict.fromkeys(ends) if text]


async def _token_ids(engine: Engine, texts: Iterable[str]) -> dict[str, int]:
    """The ids of those texts that are one token each."""
    ids = {text: await engine.tokenise([text]) for text in texts}
    return {text: found[0] for text, found in ids.items() if len(found) == 1}


def _card(choices: Choices, described: Description, selection: FormatSelection) -> ModelCard:
    window = min(choices.window or described.window, described.window)
    return ModelCard(
        name=choices.name or described.model,
        aliases=choices.aliases,
        window=window,
        max_output=window,
        vision=described.vision,
        token_ids=True,
        alternatives=described.alternatives,
        vocabulary=described.vocabulary,
        thinking=selection.thinks,
        created=described.created,
        tool_call_parser=selection.format.name,
        reasoning_parser=selection.reasoning.name,
        parsers=selection.explanation,
    )


async def _prompter(
    engine: Engine,
    described: Description,
    template: Template,
    selection: FormatSelection,
    choices: Choices,
    transcripts: TranscriptStore | None,
) -> Prompter:
    control = set(described.control_tokens)
    renderer = Renderer(template, call_id=selection.format.call_id, media_marker=described.media_marker)
    seams = Seams(renderer, control, described.eos_token)
    await _report_template(renderer, seams, engine)
    guarded = {*(control or selection.markers), described.media_marker} - {""}
    return Prompter(
        renderer,
        Fence(guarded, described.exact_cuts),
        seams,
        engine.tokenise,
        engine.picture_tokens,
        opens_thinking=selection.reasoning.opened_by,
        ends_thinking=selection.reasoning.cut_short,
        start=described.start,
        transcripts=transcripts,
        thoughts=Thoughts(renderer) if choices.history_thinking == "template" else None,
    )


async def _report_template(renderer: Renderer, seams: Seams, engine: Engine) -> None:
    """Log once what the chat template cannot do, and where it costs a conversation its prefix."""
    for problem in problems(renderer):
        log.warning("the chat template cannot render %s", problem)
    if found := parting(renderer):
        place = await describe(found, engine.tokenise, engine.spell)
        log.info("the chat template changes earlier turns as a conversation grows: %s", place)
    if not (seams.text and seams.call):
        kind = "a tool call" if seams.text else "a reply"
        log.info(
            "the chat template puts no control token behind %s: it is computed again together with the turn after it",
            kind,
        )
