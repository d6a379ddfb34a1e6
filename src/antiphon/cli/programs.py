"""The programs that can be started against a running server, a record each: what is set for them, how to get them.

`antiphon launch` starts them, `antiphon env` prints what they would be given, and their page is made from here.
"""

from __future__ import annotations

from collections.abc import Callable

import msgspec

from antiphon.process.banner import Served

_LARGEST_REPLY = 32000


class Target(msgspec.Struct, frozen=True, kw_only=True):
    """What a program is pointed at: the server's address without a slash at the end, the key to show, the model for
    the work and the one for small things beside it, and the longest reply in tokens, 0 to go by the window. `catalogue`
    is a file that describes the server's models, for a program that `reads_catalogue`."""

    base: str
    key: str
    model: Served
    small: Served
    most: int = 0
    catalogue: str = ""


class Program(msgspec.Struct, frozen=True, kw_only=True):
    """A program that speaks one of the server's APIs. `variables` are what it is given in its environment, `overrides`
    its own settings that it is given on its command line as `-c NAME=VALUE`, all of them for a reason in `why`;
    `without` are variables of the user's own that would lead it elsewhere. `prompt_tokens` is about how long its own
    instructions and tools are. `install` is the command that gets it, `example` what may follow `--`; `notes` says
    what will not work as it should."""

    name: str
    title: str
    command: str
    install: str
    example: str
    prompt_tokens: int
    variables: Callable[[Target], dict[str, str]]
    why: dict[str, str]
    overrides: Callable[[Target], dict[str, str]] = lambda target: {}
    without: tuple[str, ...] = ()
    reads_catalogue: bool = False
    notes: Callable[[Target], tuple[str, ...]] = lambda target: ()

    def arguments(self, target: Target) -> list[str]:
        """What its command line begins with."""
        return [word for name, value in self.overrides(target).items() for word in ("-c", f"{name}={value}")]


def _reply_tokens(target: Target, model: Served) -> int:
    """The longest reply to ask for, 0 when nothing is known. Prompt and reply share the window; a quarter of it for
    the reply leaves the conversation room to grow."""
    return target.most or min(model.max_output or model.window, model.window // 4, _LARGEST_REPLY)


def _claude(target: Target) -> dict[str, str]:
    model, small = target.model.name, target.small.name
    variables = {
        "ANTHROPIC_BASE_URL": target.base,
        "ANTHROPIC_AUTH_TOKEN": target.key,
        "ANTHROPIC_MODEL": model,
        "ANTHROPIC_DEFAULT_OPUS_MODEL": model,
        "ANTHROPIC_DEFAULT_SONNET_MODEL": model,
        "ANTHROPIC_DEFAULT_HAIKU_MODEL": small,
        "ANTHROPIC_SMALL_FAST_MODEL": small,
        "CLAUDE_CODE_SUBAGENT_MODEL": model,
    }
    if target.model.window:
        variables["CLAUDE_CODE_MAX_CONTEXT_TOKENS"] = str(target.model.window)
    if most := _reply_tokens(target, target.model):
        variables["CLAUDE_CODE_MAX_OUTPUT_TOKENS"] = str(most)
    variables["CLAUDE_CODE_ATTRIBUTION_HEADER"] = "0"
    variables["CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC"] = "1"
    return variables


def _claude_notes(target: Target) -> tuple[str, ...]:
    if not target.model.name.startswith("claude-"):
        return ()
    return (
        "a model whose name begins with claude- is taken for one with 200000 tokens, whatever is set; "
        "name it otherwise (antiphon serve --served-model-name)",
    )


def _opencode(target: Target) -> dict[str, str]:
    """opencode takes a whole configuration from a variable, and lays it over the user's own."""

    def described(model: Served) -> dict[str, object]:
        about: dict[str, object] = {
            "name": model.name,
            "tool_call": True,
            "reasoning": model.thinks,
            "attachment": model.sees,
        }
        if model.window:
            about["limit"] = {"context": model.window, "output": _reply_tokens(target, model)}
        return about

    provider = {
        "npm": "@ai-sdk/anthropic",
        "name": "Antiphon",
        "options": {"baseURL": f"{target.base}/v1", "apiKey": target.key},
        "models": {model.name: described(model) for model in (target.small, target.model)},
    }
    settings = {
        "provider": {"antiphon": provider},
        "model": f"antiphon/{target.model.name}",
        "small_model": f"antiphon/{target.small.name}",
        "autoupdate": False,
        "share": "disabled",
    }
    return {"OPENCODE_CONFIG_CONTENT": msgspec.json.encode(settings).decode()}


_CODEX_KEY = "ANTIPHON_API_KEY"


def _codex(target: Target) -> dict[str, str]:
    """Codex reads settings as TOML, whose strings are written as those of JSON."""

    def text(value: str) -> str:
        return msgspec.json.encode(value).decode()

    overrides = {
        "model": text(target.model.name),
        "model_provider": text("antiphon"),
        "model_providers.antiphon.name": text("Antiphon"),
        "model_providers.antiphon.base_url": text(f"{target.base}/v1"),
        "model_providers.antiphon.wire_api": text("responses"),
        "model_providers.antiphon.env_key": text(_CODEX_KEY),
        "check_for_update_on_startup": "false",
        "analytics.enabled": "false",
    }
    if target.model.window:
        overrides["model_context_window"] = str(target.model.window)
    if target.catalogue:
        overrides["model_catalog_json"] = text(target.catalogue)
    return overrides


PROGRAMS = {
    program.name: program
    for program in (
        Program(
            name="claude",
            title="Claude Code",
            command="claude",
            install="npm install -g @anthropic-ai/claude-code",
            example='-p "Say hello."',
            prompt_tokens=13_000,
            variables=_claude,
            why={
                "ANTHROPIC_BASE_URL": "the server",
                "ANTHROPIC_AUTH_TOKEN": "the key, `any` where none is asked for",
                "ANTHROPIC_MODEL": "the model",
                "ANTHROPIC_DEFAULT_OPUS_MODEL": "the same model by the names that it is asked for by agents and skills",
                "ANTHROPIC_DEFAULT_SONNET_MODEL": "as above",
                "ANTHROPIC_DEFAULT_HAIKU_MODEL": "the model for small things (titles, summaries)",
                "ANTHROPIC_SMALL_FAST_MODEL": "the same, as older versions call it",
                "CLAUDE_CODE_SUBAGENT_MODEL": "the model of its own helpers",
                "CLAUDE_CODE_MAX_CONTEXT_TOKENS": "the true window; an unknown model is otherwise taken for one with "
                "a very large window, and the conversation is not compacted in time",
                "CLAUDE_CODE_MAX_OUTPUT_TOKENS": "the longest reply, a quarter of the window",
                "CLAUDE_CODE_ATTRIBUTION_HEADER": "off: a line that changes at the head of every prompt",
                "CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC": "on: no telemetry, error reports or updates",
            },
            without=(
                "ANTHROPIC_API_KEY",
                "CLAUDE_CODE_OAUTH_TOKEN",
                "CLAUDE_CODE_USE_BEDROCK",
                "CLAUDE_CODE_USE_VERTEX",
                "CLAUDE_CODE_USE_FOUNDRY",
            ),
            notes=_claude_notes,
        ),
        Program(
            name="codex",
            title="Codex",
            command="codex",
            install="npm install -g @openai/codex",
            example='exec "Say hello."',
            prompt_tokens=8_000,
            variables=lambda target: {_CODEX_KEY: target.key},
            overrides=_codex,
            reads_catalogue=True,
            why={
                _CODEX_KEY: "the key, `any` where none is asked for",
                "model": "the model",
                "model_provider": "this server, as the next four say",
                "model_providers.antiphon.name": "what it is called",
                "model_providers.antiphon.base_url": "the server",
                "model_providers.antiphon.wire_api": "the Responses API",
                "model_providers.antiphon.env_key": "the variable that has the key",
                "check_for_update_on_startup": "off",
                "analytics.enabled": "off",
                "model_catalog_json": "a file in the cache folder that describes the server's models; otherwise Codex "
                "has no tool for edits",
                "model_context_window": "the true window, so that the conversation is compacted in time",
            },
        ),
        Program(
            name="opencode",
            title="opencode",
            command="opencode",
            install="npm install -g opencode-ai",
            example='run "Say hello."',
            prompt_tokens=8_000,
            variables=_opencode,
            why={
                "OPENCODE_CONFIG_CONTENT": "a provider with the server's address, key, models and their windows, "
                "chosen for the work and for titles; no updates, no sharing. It is laid over your own files, which "
                "stay as they are",
            },
        ),
    )
}
