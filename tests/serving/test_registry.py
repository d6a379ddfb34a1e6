"""Which served model a client's word means: the same on every path, and as the operator would expect."""

from __future__ import annotations

import pytest

from antiphon.api.conversation import GenerationParams
from antiphon.api.errors import NotFound
from antiphon.api.reply import fold
from antiphon.engines.scripted import Script, Scripted
from antiphon.serving.model import Choices, Model
from antiphon.serving.registry import ModelRegistry
from antiphon.serving.service import Service
from antiphon.serving.token_model import load
from tests.serving.served import emitted, said


async def model(name: str, *aliases: str) -> Model:
    return await load(Scripted(Script(model="file-name")), Choices(name=name, aliases=aliases))


async def test_what_a_name_means() -> None:
    """A name wins over patterns, the pattern that says most over the others whatever the order, case does not matter to
    a pattern, and whatever is called like the original's goes to the first model."""
    large = await model("org/Large", "claude-*", "big[1m]")
    small = await model("small", "claude-haiku-*", "*flash*", "claude-opus-little")
    for models in ([large, small], [small, large]):
        resolve = ModelRegistry(models).resolve
        for name in ("org/Large", "big[1m]", "claude-sonnet-4-5", "Claude-Opus-9", "CLAUDE-X"):
            assert resolve(name) is large, name
        for name in ("small", "claude-haiku-4-5-20251001", "Claude-Haiku-9", "a-flash-b", "claude-opus-little"):
            assert resolve(name) is small, name
        assert resolve("anthropic.claude-x") is models[0]
        assert resolve("default") is models[0]
        for name in ("", "smal", "LARGE", "gpt-9"):
            with pytest.raises(NotFound, match=r"served here: .*org/Large"):
                resolve(name)


async def test_one_pattern_for_everything() -> None:
    """A model called `*` answers to any name, after every model that is named."""
    first, rest = await model("first"), await model("rest", "*")
    registry = ModelRegistry([first, rest])
    assert [registry.resolve(name) for name in ("first", "gpt-9", "", "claude-x")] == [first, rest, rest, rest]


async def test_a_conversation_may_change_models() -> None:
    """Each model makes prompts of its own ids, whatever another one was told of the same turns; asked to compare, the
    service says that the model was changed."""
    engines = [Scripted(Script(model=name, start=start)) for name, start in (("one", (5,)), ("two", (6, 7)))]
    service = Service([await load(engine, Choices()) for engine in engines])
    prepared = []
    for number, name in enumerate(("one", "two", "one")):
        texts = ["Hi", "Hello from the script.", "Go on"][: 1 + 2 * min(number, 1)]
        prepared.append(
            await service.prepare(
                name,
                said(*texts),
                GenerationParams(),
                message=f"m{number}",
                previous=f"m{number - 1}" if number else None,
            )
        )
        assert fold(await emitted(service, prepared[-1])).blocks
    assert [list(engine.jobs[-1].prompt[: len(engine.script.start)]) for engine in engines] == [[5], [6, 7]]
    assert [p.miss.reason if p.miss else None for p in prepared] == [None, "model_changed", "model_changed"]
    assert [p.task.prompt.remembered for p in prepared] == [0, 0, 2]


async def test_names_are_unique() -> None:
    """Two models cannot have one name; a model without one is called what its engine calls it."""
    unnamed = await model("")
    assert unnamed.card.name == "file-name"
    with pytest.raises(ValueError, match="two models are called 'file-name'"):
        ModelRegistry([unnamed, await model("other", "file-name")])


async def test_a_key_is_served_its_models_as_if_there_were_no_others() -> None:
    """By name, pattern or alias; `default` and the original's names mean the first of them; others do not exist."""
    models = [await model("large", "claude-*"), await model("small", "tiny"), await model("other")]
    registry = ModelRegistry(models)
    for patterns in (("small",), ("sm*", "nothing"), ("tiny",)):
        for name in ("small", "tiny", "default", "claude-opus-9", "anthropic.claude-x"):
            assert registry.resolve(name, patterns) is models[1], name
        for name in ("large", "other", "nothing"):
            with pytest.raises(NotFound, match=r"served here: small; any"):
                registry.resolve(name, patterns)
        assert registry.allowed(patterns) == models[1:2]
    with pytest.raises(NotFound, match="none that this key may use"):
        registry.resolve("default", ("gone",))
