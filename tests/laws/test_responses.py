"""The laws over the Responses API with tools that run here: however text, thinking, calls and cuts follow each other,
each stream is legal and ends in the response that is sent whole, and what is sent back is its own prefix."""

from __future__ import annotations

import asyncio
import json
from functools import partial
from itertools import count
from typing import Any

import msgspec
import pytest
from hypothesis import example, given, settings
from openai.types.responses import Response, ResponseStreamEvent
from pydantic import TypeAdapter

from antiphon.api.conversation import Conversation, GenerationParams
from antiphon.api.errors import BadRequest
from antiphon.api.events import AnyEvent
from antiphon.api.reply import Fold
from antiphon.api.seal import Seal
from antiphon.engines.scripted import Rule, Scripted
from antiphon.prompt.citations.labelling import Sources
from antiphon.server_tools.registry import ServerTools
from antiphon.server_tools.rounds import CallRules, Rounds, Run
from antiphon.server_tools.web.search import WebSearch
from antiphon.serving.service import ModelCard, Service
from antiphon.surfaces.responses import encode, items
from antiphon.surfaces.responses.reply import Style, whole
from antiphon.surfaces.responses.request import decode
from antiphon.surfaces.responses.tools import toolbox
from tests.laws.test_server_tools import BOUNDS, CITED, OUTPUTS, SEAL, Searches, _goes_on, _rule
from tests.serving.served import served
from tests.surfaces.response_order import check, frames

Fields = dict[str, Any]

LOOK = {"type": "function", "name": "look", "parameters": {"type": "object", "properties": {"path": {}}}}
TOOLS = [{"type": "web_search"}, LOOK]
CARD = ModelCard(name="m", window=8192, max_output=4096, vision=False, thinking=True, created=1)
EVENT: TypeAdapter[Any] = TypeAdapter(ResponseStreamEvent)


class Talk:
    """A conversation in which the model says these outputs, one after the other."""

    def __init__(self, service: Service, engine: Scripted, summary: str | None) -> None:
        self.service, self.engine = service, engine
        self.offered = ServerTools([WebSearch(Searches())], BOUNDS)
        self.asked: Fields = {"reasoning": {"summary": summary}, "include": [decode.SEALED], "tools": TOOLS}
        self.items: list[Fields] = [{"role": "user", "content": "Begin."}]

    def _style(self, draft: decode.Draft, decoded: decode.DecodedRequest) -> Style:
        numbers = count(len(self.items))
        return Style(
            id="resp_1",
            created=1,
            clock=lambda: 2.0,
            echo=decode.echo(draft),
            items=items.Style(
                new_id=lambda prefix: f"{prefix}{next(numbers)}",
                seal=SEAL,
                shapes=decoded.box.shapes,
                served=toolbox.wire_names(decoded.box),
                summary=decode.summarised(draft.request),
                sealed=True,
            ),
        )

    async def ask(self) -> Fields:
        """One request: the response, which its stream ends in."""
        body = {"model": "m", "max_output_tokens": 1000, "input": self.items, **self.asked}
        draft = decode.read(json.dumps(body).encode(), self.offered)
        decoded = decode.decode(draft, self.service.cards()[0], SEAL, {})
        encoder, folding, raw = encode.Encoder(self._style(draft, decoded)), Fold(), bytearray()

        async def take(batch: list[AnyEvent]) -> None:
            raw.extend(encoder.batch(batch))
            await folding.take(batch)

        async def prepare(conversation: Conversation, wanted: GenerationParams) -> Run:
            return partial(self.service.run, await self.service.prepare("default", conversation, wanted, session="s"))

        rounds = Rounds(
            decoded.conversation,
            decoded.generation,
            CallRules(seal=SEAL, bounds=BOUNDS),
            declared=decoded.box.served,
            further=prepare,
            sources=Sources(decoded.conversation.sources) if decoded.cites else None,
        )
        await rounds.run(await prepare(decoded.conversation, decoded.generation), take)
        events = frames(bytes(raw))
        for event in events:
            EVENT.validate_python(event)
        response = check(events)
        folded = msgspec.json.encode(whole(self._style(draft, decoded), folding.reply()))
        assert response == json.loads(folded)
        Response.model_validate(response, strict=True)
        return response

    def answer(self, response: Fields) -> None:
        """The output becomes history, and the client says what comes next."""
        self.items += response["output"]
        calls = [item["call_id"] for item in response["output"] if item["type"] == "function_call"]
        self.items += [{"type": "function_call_output", "call_id": id, "output": "Seen."} for id in calls]
        if not calls:
            self.items.append({"role": "user", "content": "And on."})


@given(outputs=OUTPUTS)
@example(
    outputs=[
        ("<think>\nWell.\n</think>\n\n", "So <be> it.", ["found", "look", "fails"], False),
        ("", "", ["wrong", "found"], False),
        ("", "", ["found"], False),
        ("", CITED, ["found"], False),
        ("", CITED, [], False),
    ]
)
@settings(max_examples=25)
def test_whatever_follows_each_other(outputs: list[tuple[str, str, list[str], bool]]) -> None:
    """Each stream passes the state table and ends in the whole response; each server call of a round that was not cut
    is completed or failed; each prompt goes on from the one before it and what was sampled for it."""

    async def talk_on(summary: str | None) -> None:
        service, engine = await served(*map(_rule, outputs), Rule(text="No more."))
        talk = Talk(service, engine, summary)
        while len(engine.jobs) < len(outputs):
            response = await talk.ask()
            searches = [item for item in response["output"] if item["type"] == "web_search_call"]
            if response["status"] == "completed":
                assert all(item["status"] in ("completed", "failed") for item in searches)
                assert all(item["encrypted_content"] for item in searches)
            talk.answer(response)
        _goes_on(engine, outputs)

    for summary in (None, "auto"):
        asyncio.run(talk_on(summary))


def test_a_changed_seal_is_refused() -> None:
    """What was sealed comes back as it was, or not at all."""
    sealed = Seal(b"a key for tests").sign("{}", withheld=True)
    for changed in (sealed, sealed[:-6] + "AAAA=="):
        item = {"type": "web_search_call", "encrypted_content": changed}
        draft = decode.read(json.dumps({"model": "m", "input": [item]}).encode(), ServerTools())
        with pytest.raises(BadRequest, match=r"^input\.0\.encrypted_content: "):
            decode.decode(draft, CARD, SEAL, {})
