"""The models' files: whether they are there, what they say of themselves, and how their chat templates behave."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from antiphon.cli.doctor.finding import FAIL, FINE, NOTE, SKIPPED, Finding
from antiphon.engines import connect
from antiphon.engines.models import gguf, model_store
from antiphon.engines.models.model_store import ModelUnavailable
from antiphon.process import engine_launches
from antiphon.prompt.templates.lint import parting, problems
from antiphon.prompt.templates.render import Renderer
from antiphon.prompt.templates.template import Template
from antiphon.serving.token_model.format_selection import chosen_format, chosen_reasoning
from antiphon.settings.sources import ModelSettings, Settings

_SMALL_WINDOW = 16_384
_LONGEST = 300


def models(settings: Settings) -> Iterator[Finding]:
    """What there is to say of each model, before anything of it runs."""
    whole = True
    for name, model in settings.served.items():
        for finding in _model(name, model, Path(settings.cache_dir)):
            whole = whole and finding.status not in (FAIL, SKIPPED)
            yield finding
    if whole and any(not model.attached for model in settings.served.values()):
        for name, planned in engine_launches.plan(settings).items():
            check = _called("room", name)
            launch = planned.launch
            detail = f"{planned.room}; the engine may take {launch.memory_mb:,} MB beside the file"
            yield Finding(check, NOTE if planned.note else FINE, detail, planned.note)


def _called(check: str, name: str) -> str:
    return f"{check} of {name}" if name else check


def _model(name: str, model: ModelSettings, cache: Path) -> Iterator[Finding]:
    check = _called("model", name)
    if model.attached:
        try:
            connect(model.model)
        except (ValueError, OSError) as error:
            yield Finding(check, FAIL, str(error), "name a known engine")
            return
        yield Finding(check, FINE, f"{model.model}, an engine that runs already")
        return
    try:
        path = model_store.present(model.model, cache)
        if path is None:
            fetch = f"antiphon pull {model.model}".rstrip()
            yield Finding(check, SKIPPED, f"{model.model or 'the default model'} is not fetched yet", fetch)
            return
        file = gguf.read(path)
    except ModelUnavailable as error:
        yield Finding(check, FAIL, str(error), "name a file that exists")
        return
    except (ValueError, OSError) as error:
        remedy = "fetch it again, or convert it to GGUF with llama.cpp's convert_hf_to_gguf.py"
        yield Finding(check, FAIL, str(error), remedy)
        return
    detail = f"{path} ({path.stat().st_size / 1e6:.0f} MB, {file.architecture}, window {file.window})"
    if 0 < file.window < _SMALL_WINDOW:
        yield Finding(check, NOTE, detail, "large enough to talk; coding assistants need 32768 tokens or more")
    else:
        yield Finding(check, FINE, detail)
    if model.mmproj:
        yield _projector(_called("projector", name), Path(model.mmproj))
    yield from _template(name, model, file)


def _projector(check: str, path: Path) -> Finding:
    try:
        architecture = gguf.read(path).architecture
    except (ValueError, OSError) as error:
        return Finding(check, FAIL, str(error), "give --mmproj the projector that belongs to the model (mmproj-….gguf)")
    if architecture != "clip":
        detail = f"{path} is a model ({architecture}), not a projector"
        return Finding(check, FAIL, detail, "give --mmproj the projector that belongs to the model (mmproj-….gguf)")
    return Finding(check, FINE, str(path))


def _template(name: str, model: ModelSettings, file: gguf.ModelFile) -> Iterator[Finding]:
    check = _called("chat template", name)
    try:
        source = Path(model.chat_template).read_text("utf-8") if model.chat_template else file.chat_template
        if not source:
            yield Finding(check, NOTE, "the file has none; ChatML is used", "give one with --chat-template FILE")
            return
        template = Template(source, bos_token=file.bos_token, eos_token=file.eos_token)
        format, reason = chosen_format(template, model.tool_call_parser)
        reasoning, thinking_reason, _ = chosen_reasoning(template, format, model.reasoning_parser)
    except (ValueError, OSError) as error:
        yield Finding(check, FAIL, str(error), "correct it, or leave out --chat-template and the parsers")
        return
    detail = f"{format.name} for calls ({reason}), {reasoning.name} for thinking ({thinking_reason})"
    guessed = "no known format" in reason
    yield Finding(
        _called("formats", name),
        NOTE if guessed else FINE,
        detail,
        "say which with --tool-call-parser; `antiphon formats` lists them" if guessed else "",
    )
    renderer = Renderer(template, call_id=format.call_id)
    if wrong := problems(renderer):
        remedy = "such conversations are refused; a newer file of the model may have a better template"
        yield Finding(check, NOTE, f"cannot render {'; '.join(wrong)}"[:_LONGEST], remedy)
    elif place := parting(renderer):
        remedy = "what was sampled here is kept as it was, so that only conversations from elsewhere are computed anew"
        yield Finding(check, NOTE, f"changes earlier turns {place}"[:_LONGEST], remedy)
    else:
        yield Finding(check, FINE, "renders every shape of conversation, each a prefix of the next")
