"""A model that is asked by token ids: the prompt is made here, the output is read here.

`loading` makes one of an engine, `model` turns a request into a `task`, `generation` runs it. Others import the two
names below; a command that only looks at a template, `format_selection`.
"""

from __future__ import annotations

from antiphon.serving.token_model.loading import load
from antiphon.serving.token_model.model import TokenModel

__all__ = ["TokenModel", "load"]
