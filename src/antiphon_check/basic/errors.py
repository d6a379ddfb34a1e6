"""What is wrong with a request, and how it is told."""

from __future__ import annotations

from antiphon_check.exchange import Exchange
from antiphon_check.registry import API, check
from antiphon_check.server import ERROR_TYPES, Server
from antiphon_check.verdict import Failed, Unjudged, expect

_ERRORS = API + "errors"
_RAISES = "The SDKs raise `BadRequestError` by the status, and show the message of the envelope."


def enveloped(exchange: Exchange) -> dict[str, str]:
    """The `error` of a reply, with its type and its message. Raises Failed where it is not in its envelope."""
    value = exchange.json()
    expect(isinstance(value, dict) and value.get("type") == "error", "the body's `type` is not 'error'")
    error = value.get("error")
    expect(isinstance(error, dict), "there is no object `error`")
    for name in ("type", "message"):
        expect(isinstance(error.get(name), str), f"`error.{name}` is not a string")
    return dict(error)


def _refused(server: Server, **fields: object) -> None:
    server.refused(server.request("POST", "/v1/messages", server.plain(**fields)), 400)


@check(
    "basic.error_envelope",
    "An error is `{type: error, error: {type, message}}`, in JSON.",
    reason="The SDKs read `error.message` and `error.type`.",
    source=_ERRORS,
)
def error_envelope(server: Server) -> None:
    server.works()
    exchange = server.request("POST", "/v1/messages", {"model": server.target.model})
    expect(exchange.status >= 400, f"a body without messages is answered {exchange.status}")
    enveloped(exchange)


@check(
    "basic.error_type",
    "The type of an error is the one that belongs to its status.",
    reason="Programs that read streams have no status and decide by the type whether to try again.",
    source=_ERRORS,
)
def error_type(server: Server) -> None:
    server.works()
    for exchange in (
        server.request("POST", "/v1/messages", server.plain(messages=[])),
        server.request("POST", "/v1/messages", server.plain(model="no-such-model-here")),
    ):
        right = ERROR_TYPES.get(exchange.status)
        if right is not None:
            found = enveloped(exchange)["type"]
            expect(found == right, f"status {exchange.status} has the error type {found!r}, not {right!r}")


@check("basic.error_json", "A body that is not JSON is a 400.", reason=_RAISES, source=_ERRORS)
def error_json(server: Server) -> None:
    server.refused(server.request("POST", "/v1/messages", raw=b'{"model": "x", '), 400)


@check(
    "basic.error_required",
    "A body without `max_tokens`, or without `messages`, is a 400 that names the field.",
    reason="It is what people get wrong first; without the name they search for hours.",
    source=API + "messages",
)
def error_required(server: Server) -> None:
    for name in ("max_tokens", "messages"):
        exchange = server.request("POST", "/v1/messages", server.plain(**{name: None}))
        server.refused(exchange, 400)
        expect(name in exchange.body.decode("utf-8", "replace"), f"the message does not name `{name}`")


@check("basic.error_empty", "An empty list of messages is a 400.", reason=_RAISES, source=API + "messages")
def error_empty(server: Server) -> None:
    _refused(server, messages=[])


@check("basic.error_role", "An unknown role is a 400.", reason=_RAISES, source=API + "messages")
def error_role(server: Server) -> None:
    _refused(server, messages=[{"role": "wizard", "content": "Hello."}])


@check("basic.error_types", "Fields of the wrong type are a 400.", reason=_RAISES, source=API + "messages")
def error_types(server: Server) -> None:
    for fields in ({"max_tokens": "many"}, {"messages": "Hello."}, {"temperature": "hot"}, {"stop_sequences": "a"}):
        _refused(server, **fields)


@check("basic.error_ranges", "Numbers out of their range are a 400.", reason=_RAISES, source=API + "messages")
def error_ranges(server: Server) -> None:
    for fields in ({"max_tokens": -1}, {"temperature": -0.5}, {"top_p": 3}):
        _refused(server, **fields)


@check(
    "basic.error_model",
    "A model that is not served is a 404 that names it.",
    reason="The SDKs raise `NotFoundError`; assistants then offer another model.",
    source=_ERRORS,
)
def error_model(server: Server) -> None:
    exchange = server.request("POST", "/v1/messages", server.plain(model="no-such-model-here"))
    if exchange.status == 200:
        raise Unjudged("the server serves any model name")
    server.refused(exchange, 404)
    expect("no-such-model-here" in exchange.body.decode("utf-8", "replace"), "the message does not name the model")


@check(
    "basic.error_path",
    "A path that does not exist is a 404 in the envelope.",
    reason="Programs probe for routes, and show the message.",
    source=_ERRORS,
)
def error_path(server: Server) -> None:
    exchange = server.request("POST", "/v1/no-such-route", {})
    server.refused(exchange, 404)
    enveloped(exchange)


@check(
    "basic.error_key",
    "Where a key is required, a wrong one is a 401.",
    reason="The SDKs raise `AuthenticationError`, and assistants ask for another key.",
    source=_ERRORS,
)
def error_key(server: Server) -> None:
    if not server.target.key:
        raise Unjudged("no key was given")
    wrong = {"x-api-key": "wrong-" + server.target.key}
    exchange = server.request("POST", "/v1/messages", server.plain(), headers=wrong)
    if exchange.status == 200:
        raise Failed("a wrong key is let in")
    server.refused(exchange, 401)


@check(
    "basic.bearer",
    "A key is accepted as a bearer token as well as in `x-api-key`.",
    reason="The newest SDKs send bearer tokens, older ones the header.",
    source="anthropic 2.12.0, _client.py",
)
def bearer(server: Server) -> None:
    if not server.target.key:
        raise Unjudged("no key was given")
    headers = {"x-api-key": "", "authorization": f"Bearer {server.target.key}"}
    server.accepted(server.request("POST", "/v1/messages", server.plain(), headers=headers), "content")
