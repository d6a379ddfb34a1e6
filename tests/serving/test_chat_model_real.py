"""The chat route of a real engine."""

from __future__ import annotations

import json
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from antiphon.api.conversation import (
    GenerationParams,
    Sampling,
    ToolChoice,
)
from antiphon.api.errors import Internal, PromptTooLong
from antiphon.api.events import Finished, ThinkingDelta
from antiphon.api.reply import TextBlock, ThinkingBlock, fold
from antiphon.engines import Reach, connect
from antiphon.engines.chat import ChatServer
from antiphon.engines.embedded import Launch
from antiphon.engines.models import gguf, model_store
from antiphon.process.engine_process import EngineProcess
from antiphon.serving import chat_model
from antiphon.serving.model import Choices
from antiphon.serving.service import Service
from antiphon.settings.sources import Settings
from tests.engines import thoughts
from tests.serving.served import events, reply, said, tool

LOOK = tool("look", at={"type": "string"})


@asynccontextmanager
async def chatting(model: Path, folder: Path) -> AsyncIterator[Service]:
    """A service before llama.cpp's own chat route."""
    launch = Launch(model=str(model), window=2048, parallel=2, threads=1, key="k", log=str(folder / "log"))
    process = EngineProcess(launch, print)
    address = f"openai+http://127.0.0.1:{process.start()}/v1"
    try:
        engine = connect(address, Reach(key="k"))
        assert isinstance(engine, ChatServer)
        service = Service([await chat_model.load(engine, Choices(name="far"))])
        try:
            yield service
        finally:
            await service.close()
    finally:
        process.stop()


@pytest.mark.xdist_group("engine")
async def test_the_chat_route_of_a_real_engine(tmp_path: Path) -> None:
    """llama.cpp's own chat server with the default model: the count is exact, a schema holds, a limit ends a reply,
    and a prompt that is too long is told with its length. It does not force a call with this model's template: of the
    demand comes a call, a reply that is cut, or the truth."""
    async with chatting(model_store.resolve("", Path(Settings().cache_dir)), tmp_path) as service:
        story, steady = said("Tell me a long story about the sea."), Sampling(temperature=0.0)
        counted = await service.count("far", story, GenerationParams())
        answer = await reply(service, story, GenerationParams(max_tokens=12, sampling=steady))
        assert answer.usage.prompt == counted
        assert (answer.usage.output, answer.reason) == (12, "max_tokens")
        schema = {"type": "object", "properties": {"n": {"type": "integer", "maximum": 9}}, "required": ["n"]}
        closed = {**schema, "additionalProperties": False}
        answer = await reply(service, said("A number"), GenerationParams(max_tokens=60, output_schema=closed))
        assert answer.reason == "max_tokens" or isinstance(json.loads(answer.blocks[0].text)["n"], int)
        streamed = await events(service, said("Hi"), GenerationParams(max_tokens=5))
        assert isinstance(streamed[-1], Finished)
        calling = said("Say hi.", tools=(LOOK,))
        forced = GenerationParams(max_tokens=60, tool_choice=ToolChoice(mode="any"))
        try:
            ending = (await reply(service, calling, forced)).reason
        except Internal as failure:
            ending = failure.message
        assert re.search("^tool_use$|^max_tokens$|does not meet the constraints of the request", ending)
        told = await events(service, calling, GenerationParams(max_tokens=12, sampling=steady))
        assert fold(told).reason in ("tool_use", "max_tokens", "end_turn")
        long = said("word " * 3000)
        counted = await service.count("far", long, GenerationParams())
        with pytest.raises(PromptTooLong, match=f"{counted} tokens > 2048"):
            await reply(service, long, GenerationParams(max_tokens=5))


THINKING = (
    "{% for m in messages %}{{ '<|im_start|>' + m.role + '\n' }}"
    "{{ '<think>\n' + m.reasoning_content + '\n</think>\n\n' if m.reasoning_content else '' }}"
    "{{ m.content + '<|im_end|>\n' }}{% endfor %}{% if add_generation_prompt %}"
    "{{ '<|im_start|>assistant\n<think>\n' + ('\n</think>\n\n' if enable_thinking is false else '') }}{% endif %}"
)


def thinker(folder: Path) -> Path:
    """The default model with a chat template that opens its thinking; of the same length, so that nothing moves."""
    model = model_store.resolve("", Path(Settings().cache_dir))
    template = gguf.read(model).chat_template.encode()
    data = model.read_bytes()
    assert data.count(template) == 1
    assert len(THINKING) <= len(template)
    file = folder / "thinker.gguf"
    # Blanks inside the last tag say nothing.
    other = THINKING.removesuffix("%}").ljust(len(template) - 2) + "%}"
    file.write_bytes(data.replace(template, other.encode()))
    return file


@pytest.mark.xdist_group("engine")
async def test_thinking_on_the_chat_route_of_a_real_engine(tmp_path: Path) -> None:
    """What llama.cpp reads as thinking is thinking here, before the answer and streamed like it."""
    async with chatting(thinker(tmp_path), tmp_path) as service:
        wanted = GenerationParams(max_tokens=60, sampling=Sampling(temperature=0.0))
        told = await events(service, said(*thoughts.CAPITALS), wanted)
        answer = fold(told)
        thought, text = answer.blocks
        assert isinstance(thought, ThinkingBlock)
        assert (thought.text.strip(), text) == (thoughts.THOUGHT, TextBlock(thoughts.ANSWER))
        assert answer.reason == "end_turn"
        assert len([event for event in told if isinstance(event, ThinkingDelta)]) > 1
