"""The served models, and which of them a name means. One place decides it for every surface."""

from __future__ import annotations

import fnmatch
from collections.abc import Iterator, Sequence

from antiphon.api.errors import NotFound
from antiphon.serving.model import Model

_WILD = "*?["


class ModelRegistry:
    """The models, the default one first. Raises ValueError when two have the same name."""

    def __init__(self, models: Sequence[Model]) -> None:
        self._models = list(models)
        self._named: dict[str, Model] = {}
        self._patterns: list[tuple[str, Model]] = []
        for model in models:
            for name in (model.card.name, *model.card.aliases):
                if self._named.setdefault(name, model) is not model:
                    raise ValueError(f"two models are called {name!r}")
            self._patterns += [(name.lower(), model) for name in model.card.aliases if any(c in name for c in _WILD)]
        # The pattern that says most decides: claude-haiku-* before claude-*, whichever model comes first.
        self._patterns.sort(key=lambda pair: -sum(c not in _WILD for c in pair[0]))

    def __iter__(self) -> Iterator[Model]:
        return iter(self._models)

    def allowed(self, patterns: Sequence[str]) -> list[Model]:
        """The models that a key may use, by its names or patterns of theirs (none: all)."""
        return [model for model in self._models if _allowed(model, patterns)] if patterns else self._models

    def resolve(self, name: str, patterns: Sequence[str] = ()) -> Model:
        """The model that a client's word means: by its name, by a pattern, or else the default one for whatever is
        called like the original's. A key with `patterns` is served the models that it may use as if there were no
        others. Raises NotFound, listing what is served."""
        model = self._find(name)
        if model is not None and (not patterns or _allowed(model, patterns)):
            return model
        served = self.allowed(patterns)
        # Programs written for the original ask for its models by name, sometimes without being told to.
        if served and ("claude" in name.lower() or name == "default"):
            return served[0]
        names = ", ".join(model.card.name for model in served) or "none that this key may use"
        default = f"; any claude-* name means {served[0].card.name}" if served else ""
        raise NotFound(f"model: {name} does not exist (served here: {names}{default})")

    def _find(self, name: str) -> Model | None:
        if name in self._named:
            return self._named[name]
        for pattern, model in self._patterns:
            if fnmatch.fnmatchcase(name.lower(), pattern):
                return model
        return None


def _allowed(model: Model, patterns: Sequence[str]) -> bool:
    names = (model.card.name, *model.card.aliases)
    return any(fnmatch.fnmatchcase(name, pattern) for name in names for pattern in patterns)
