"""GET /openapi.json: every route as OpenAPI 3.1, made from the routes themselves and the structs they read and send.

Each surface has its own names: its struct `Request` is the component `messages.Request`.
"""

from __future__ import annotations

from collections.abc import Sequence
from http import HTTPStatus
from typing import Any

import msgspec

from antiphon import __version__
from antiphon.surfaces.http.exchange import Exchange
from antiphon.surfaces.surface import Operation, Route, Surface

Served = Sequence[tuple[Surface, Route]]

# Every answer of the gate has it.
_HEADERS = {"request-id": {"schema": {"type": "string"}, "description": "The id of the request, also in the log."}}
_INFO = {
    "title": "Antiphon",
    "version": __version__,
    "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
    "description": "Open language models behind the Anthropic Messages API. Unknown fields are accepted everywhere, "
    "and named in the header `antiphon-ignored`. Base URLs with and without `/v1` both work.",
}
_KEYS = {
    "key": {"type": "apiKey", "in": "header", "name": "x-api-key"},
    "bearer": {"type": "http", "scheme": "bearer"},
}
# The standard library's names, and one that is the API's own.
_REASONS = {**{status.value: status.phrase for status in HTTPStatus}, 529: "Overloaded"}


def route(served: Served, surface: Surface) -> Route:
    """The route of the description, itself among those described, as one of `surface`'s."""

    async def answer(exchange: Exchange) -> None:
        await exchange.reply(200, text)

    operation = Operation(
        summary="Describe every route",
        description="This document, in OpenAPI 3.1.",
        replies={"application/json": dict[str, Any]},
        fails=(),
    )
    own = Route(method="GET", path="/openapi.json", answer=answer, open=True, quiet=True, operation=operation)
    text = msgspec.json.encode(document([*served, (surface, own)]))
    return own


def document(served: Served) -> dict[str, Any]:
    """The description. Raises ValueError for a route that says nothing of itself."""
    paths: dict[str, dict[str, Any]] = {}
    schemas: dict[str, Any] = {}
    for surface in {surface.name: surface for surface, _ in served}.values():
        about = _About(surface, [route for each, route in served if each.name == surface.name])
        schemas |= about.components
        for path, method, operation in about.operations():
            paths.setdefault(path, {})[method] = operation
    return {
        "openapi": "3.1.0",
        "info": _INFO,
        # Where no key is configured, none is asked for.
        "security": [{}, *({name: []} for name in _KEYS)],
        "paths": paths,
        "components": {"schemas": schemas, "securitySchemes": _KEYS},
    }


class _About:
    """What is told of one surface: its operations, and the components that its types need."""

    def __init__(self, surface: Surface, routes: list[Route]) -> None:
        self._surface = surface
        self._operations = [(route, route.operation) for route in routes if route.operation is not None]
        if len(self._operations) < len(routes):
            raise ValueError(f"a route of the surface {surface.name!r} does not say what it is")
        types: list[Any] = [surface.failures.body, *surface.types.values()]
        for _, operation in self._operations:
            types += [operation.body, *operation.replies.values(), *(each.type for each in operation.parameters)]
        self._types = [type for type in types if type is not None]
        self._place = f"#/components/schemas/{surface.name}."
        self._schemas, components = msgspec.json.schema_components(self._types, ref_template=self._place + "{name}")
        named = {name: self._schema(type) for name, type in surface.types.items()}
        self.components = {
            f"{surface.name}.{_short(name)}": self._resolved(schema) for name, schema in {**named, **components}.items()
        }

    def _schema(self, type: Any) -> Any:
        place = next(index for index, known in enumerate(self._types) if known is type)
        return self._resolved(self._schemas[place])

    def _resolved(self, schema: Any) -> Any:
        """The same, with the bare names in references completed."""
        if isinstance(schema, list | tuple):
            return [self._resolved(each) for each in schema]
        if not isinstance(schema, dict):
            return schema
        full = {key: self._resolved(value) for key, value in schema.items()}
        if isinstance(name := full.get("$ref"), str):
            full["$ref"] = self._place + _short(name.removeprefix(self._place))
        return full

    def operations(self) -> list[tuple[str, str, dict[str, Any]]]:
        """Path, method and description of each."""
        entries = []
        for route, operation in self._operations:
            path = self._surface.base + route.path
            for name in operation.rest.split("/"):
                path = path.replace("*", "{" + name + "}", 1)
            entries.append((path, route.method.lower(), self._described(path, route, operation)))
        return entries

    def _described(self, path: str, route: Route, operation: Operation) -> dict[str, Any]:
        good = {kind: self._schema(type) for kind, type in operation.replies.items()}
        fails = self._surface.failures.statuses if operation.fails is None else operation.fails
        failure = {"application/json": self._schema(self._surface.failures.body)} if fails else {}
        described: dict[str, Any] = {
            "operationId": f"{route.method.lower()} {path}",
            "tags": [self._surface.name],
            "summary": operation.summary,
            "responses": {
                str(operation.status): _response(_REASONS[operation.status], good),
                **{str(status): _response(_REASONS[status], {}) for status in operation.bare},
                **{str(status): _response(_REASONS[status], failure) for status in fails},
            },
        }
        if operation.description:
            described["description"] = operation.description
        if operation.parameters:
            described["parameters"] = [
                {
                    "name": each.name,
                    "in": each.place,
                    "required": each.required,
                    "description": each.summary,
                    "schema": self._schema(each.type),
                }
                for each in operation.parameters
            ]
        if operation.body is not None:
            content = {"application/json": {"schema": self._schema(operation.body)}}
            described["requestBody"] = {"required": True, "content": content}
        if operation.form:
            described["requestBody"] = {
                "required": True,
                "content": {"multipart/form-data": {"schema": operation.form}},
            }
        if route.open:
            described["security"] = [{}]
        return described


def _short(name: str) -> str:
    """A component's name. Of two structs with one name, msgspec tells the whole modules; the last part will do."""
    return ".".join(name.split(".")[-2:])


def _response(reason: str, schemas: dict[str, Any]) -> dict[str, Any]:
    content = {kind: {"schema": schema} for kind, schema in schemas.items()}
    return {"description": reason, "headers": _HEADERS, **({"content": content} if content else {})}
