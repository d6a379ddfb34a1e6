"""`antiphon recommend` and `update-models`: which of the known models suit this machine."""

from __future__ import annotations

import urllib.request
from collections.abc import Sequence
from pathlib import Path
from typing import get_args

import click
import msgspec

from antiphon.cli.options import Failed, settings_options
from antiphon.engines.hardware import accelerators, machine, memory
from antiphon.engines.hardware.cache_size import CacheType
from antiphon.engines.models import catalogue
from antiphon.engines.models.catalogue import ModelFacts, Use
from antiphon.settings.fields import Settings

_LEAST_WINDOW: dict[Use, int] = {"coding": 32_768, "tools": 16_384, "chat": 8_192}
"""Tokens below which a model is of no use for this. A coding assistant's instructions alone are some 20,000."""
_LEAST_SPEED = 8.0
"""Tokens a second, about twice as fast as people read: with fewer, a page of code takes minutes, and so does a thought
before an answer."""
# An engine reads weights less evenly than a copy does, and computes besides: on two busy cores it reached 0.47 to 0.72
# of what a copy did (SmolLM2 135M and Gemma 3 270M, 2026-11).
_REACHED = 0.5
# Values and their scales, of an f16 cache's bytes.
_Q8_SHARE = 34 / 64
_LONGEST_CATALOGUE = 1 << 20
_PATIENCE = 30.0


class Machine(msgspec.Struct, frozen=True, kw_only=True):
    """What there is to run a model: bytes of memory, bytes a second that it gives (0: not known), cores, the
    graphics processors that the engine uses, and what there is to say of others."""

    memory: int
    bandwidth: float
    cores: int
    gpus: tuple[str, ...] = ()
    unused: accelerators.Unused | None = None


class Recommendation(msgspec.Struct, frozen=True, kw_only=True):
    """A model for a use: the window in tokens and the number of such windows that the server would give it, the
    estimated tokens a second (0: not known), and the command. `passed_over` is a better one that fits and is slow."""

    use: str
    name: str
    title: str
    quantisation: str
    bytes: int
    licence: str
    window: int
    whole_window: int
    parallel: int
    speed: float
    vision: bool
    command: str
    passed_over: Recommendation | None = None

    @property
    def slow(self) -> bool:
        """Whether it keeps people waiting."""
        return 0 < self.speed < _LEAST_SPEED


def look() -> Machine:
    """This machine. Where the engine can use a GPU, models are put there if they fit."""
    used, missing = accelerators.look()
    return Machine(
        memory=max(each.free for each in used) if used else machine.free_bytes(),
        # Of the processor's memory; a GPU's is many times faster.
        bandwidth=0.0 if used else machine.bandwidth(),
        cores=machine.cores(),
        gpus=tuple(each.name for each in used),
        unused=missing,
    )


def recommended(models: Sequence[ModelFacts], here: Machine, parallel: int) -> list[Recommendation]:
    """The best model for each use: of those that fit, the first that is fast enough, or else the fastest."""
    recommendations = []
    for use in get_args(Use):
        fitting = [each for model in models if use in model.uses for each in _fitting(model, use, here, parallel)]
        if not fitting:
            continue
        best = next((each for each in fitting if not each.slow), max(fitting, key=lambda each: each.speed))
        better = next(iter(fitting[: fitting.index(best)]), None)
        recommendations.append(msgspec.structs.replace(best, passed_over=better))
    return recommendations


def _fitting(model: ModelFacts, use: Use, here: Machine, parallel: int) -> list[Recommendation]:
    """The model with each of its files that leaves room for a window of use."""

    def slot_bytes(window: int, kind: CacheType) -> int:
        return int(window * model.cache_bytes * (_Q8_SHARE if kind == "q8_0" else 1))

    fitting = []
    for file in model.files:
        room = memory.fit(
            window=model.window,
            fixed=False,
            parallel=parallel,
            slot_bytes=slot_bytes,
            budget=memory.budgets([parallel * slot_bytes(model.window, "f16")], max(0, here.memory - file.bytes))[0],
            cache_types=("f16", "q8_0"),
        )
        name = model.name if file is model.files[0] else f"{model.name}:{file.quantisation}"
        if file.bytes < here.memory and room.window >= min(_LEAST_WINDOW[use], model.window):
            fitting.append(
                Recommendation(
                    use=use,
                    name=name,
                    title=model.title,
                    quantisation=file.quantisation,
                    bytes=file.bytes,
                    licence=model.licence,
                    window=room.window,
                    whole_window=model.window,
                    parallel=room.parallel,
                    speed=_REACHED * here.bandwidth / model.bytes_a_token(file),
                    vision=model.vision,
                    command=f"antiphon serve {name}",
                )
            )
    return fitting


@click.command()
@click.option("--all", "everything", is_flag=True, help="List every known model, whether it fits or not.")
@click.option(
    "--memory", "gigabytes", type=float, metavar="NUMBER", help="Gigabytes to assume instead of what is free."
)
@click.option("--json", "as_json", is_flag=True, help="Print it as JSON.")
@settings_options("cache_dir", "parallel")
def recommend(settings: Settings, everything: bool, gigabytes: float | None, as_json: bool) -> None:
    """Name the models that suit this machine, for coding, chat and tools.

    Looks at memory, cores and graphics processors, measures for a moment how fast the memory is, and names for each use
    the best known model that fits, with the command that serves it. `antiphon update-models` fetches a newer list.
    """
    known = catalogue.load(Path(settings.cache_dir))
    if everything:
        for model in known.model:
            for file in model.files:
                name = model.name if file is model.files[0] else f"{model.name}:{file.quantisation}"
                uses = ", ".join(model.uses)
                click.echo(f"{name}\t{_size(file.bytes)}\t{model.window} tokens\t{uses}\t{model.reference(file)}")
        return
    here = look()
    if gigabytes is not None:
        here = msgspec.structs.replace(here, memory=int(gigabytes * 1e9))
    recommendations = recommended(known.model, here, settings.parallel)
    if as_json:
        click.echo(msgspec.json.format(msgspec.json.encode({"machine": here, "models": recommendations})))
        return
    _tell(here, recommendations)


def _tell(here: Machine, recommendations: Sequence[Recommendation]) -> None:
    cores = f"{here.cores} core{'s' * (here.cores > 1)}"
    speed = f", which gives {here.bandwidth / 1e9:.0f} GB/s (measured just now)" if here.bandwidth else ""
    gpus = f"; GPU: {', '.join(here.gpus)}" if here.gpus else "; no GPU that the engine can use"
    click.echo(f"This machine: {cores}, {_size(here.memory)} of memory free{speed}{gpus}.")
    if here.unused:
        click.secho(f"{here.unused.sentence}.", fg="yellow", bold=True)
        click.echo(f"  Install the build for it: {here.unused.install}")
    if missing := set(get_args(Use)) - {each.use for each in recommendations}:
        click.echo(
            f"No known model fits for {', '.join(sorted(missing))}; the small default one always does: antiphon serve"
        )
    grouped: dict[tuple[str, str], list[Recommendation]] = {}
    for each in recommendations:
        grouped.setdefault((each.name, each.passed_over.name if each.passed_over else ""), []).append(each)
    for same in grouped.values():
        *others, last = (each.use for each in same)
        _tell_one(same[0], f"{', '.join(others)} and {last}" if others else last)


def _tell_one(model: Recommendation, uses: str) -> None:
    windows = f"{model.parallel} windows" if model.parallel > 1 else "a window"
    whole = "" if model.window == model.whole_window else f" (of {model.whole_window:,})"
    click.secho(f"\nFor {uses}: {model.title}", bold=True, nl=False)
    click.echo(f", {model.quantisation}, {_size(model.bytes)}")
    click.echo(f"    {windows} of {model.window:,} tokens{whole}; {_pace(model)}; {model.licence}")
    click.echo(f"    {model.command}")
    if model.slow:
        click.echo("    It is slow on this machine, but it is the fastest that fits.")
    if better := model.passed_over:
        click.echo(f"    {better.title} fits too and is better, but slow, {_pace(better)}: {better.command}")


def _pace(model: Recommendation) -> str:
    if not model.speed:
        return "the GPU's speed is not estimated"
    return f"about {model.speed:.{0 if model.speed >= 10 else 1}f} tokens/s (an estimate)"


def _size(count: int) -> str:
    return f"{count / 1e9:.1f} GB"


@click.command()
@click.option("--url", metavar="URL", help="Where to fetch it; otherwise the setting `catalogue_url`.")
@settings_options("cache_dir", "catalogue_url")
def update_models(settings: Settings, url: str | None) -> None:
    """Fetch a newer list of the models that are known by name.

    It is a file like the one in the package (`antiphon/engines/models/catalogue.toml`), and kept in the cache if it is
    not older than the one in force.
    """
    source = url or settings.catalogue_url
    if not source.startswith(("http://", "https://")):
        raise Failed("no list is named: give its address with --url https://… (or catalogue_url in antiphon.toml)")
    try:
        with urllib.request.urlopen(source, timeout=_PATIENCE) as response:
            data = response.read(_LONGEST_CATALOGUE + 1)
        if len(data) > _LONGEST_CATALOGUE:
            raise ValueError("it is longer than a list of models can be")
        updated = catalogue.update(Path(settings.cache_dir), data)
    except (OSError, ValueError) as error:
        raise Failed(f"the list at {source} cannot be used: {error}") from None
    click.echo(f"{len(updated.model)} models, of {updated.date}; `antiphon recommend` chooses among them")
