"""Makes requests that Schemathesis draws as good ones likely to be served: a schema cannot say which models there are,
and that a conversation begins with the user. Loaded by its command line from SCHEMATHESIS_HOOKS."""

from __future__ import annotations

from typing import Any

import schemathesis


@schemathesis.hook
def before_call(context: Any, case: Any, kwargs: dict[str, Any]) -> None:
    """Give a good request a model that is served and a first message that may stand there."""
    meta = case.meta
    if meta is None or not meta.generation.mode.is_positive or not isinstance(case.body, dict):
        return
    case.body["model"] = "default"
    messages = case.body.get("messages")
    if isinstance(messages, list) and messages and isinstance(messages[0], dict):
        messages[0] = {"role": "user", "content": "Say hello."}
    if "input" in case.body:
        case.body["input"] = "Say hello."
