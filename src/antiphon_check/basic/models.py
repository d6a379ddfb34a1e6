"""The list of models."""

from __future__ import annotations

from datetime import datetime
from typing import Any
from urllib.parse import quote

from antiphon_check.registry import API, SDK, check
from antiphon_check.server import Server
from antiphon_check.verdict import Failed, expect


def _listed(server: Server) -> list[Any]:
    models = server.accepted(server.request("GET", "/v1/models"), "data")["data"]
    expect(isinstance(models, list) and models, "`data` is not a list of models")
    return list(models)


@check(
    "basic.models_list",
    "`GET /v1/models` lists the models, with the ends of the page.",
    reason="Assistants offer the list; the SDKs page through it by `has_more` and `last_id`.",
    source=API + "models-list",
)
def models_list(server: Server) -> None:
    models = _listed(server)
    page = server.exchanges[-1].json()
    expect(page.get("has_more") in (True, False), f"`has_more` is {page.get('has_more')!r}")
    ends = (page.get("first_id"), page.get("last_id"))
    there = (models[0].get("id"), models[-1].get("id"))
    expect(ends == there, f"`first_id` and `last_id` are {ends}, those of the models {there}")


@check(
    "basic.models_fields",
    "Each model has an id, a name to show, and the time it was made.",
    reason="The SDKs' `ModelInfo` declares them, the time in RFC 3339.",
    source=SDK + "types/model_info.py",
)
def models_fields(server: Server) -> None:
    for model in _listed(server):
        expect(model.get("type") == "model", f"`type` is {model.get('type')!r}")
        for name in ("id", "display_name", "created_at"):
            expect(isinstance(model.get(name), str) and model[name], f"`{name}` is {model.get(name)!r}")
        try:
            datetime.fromisoformat(model["created_at"])
        except ValueError:
            raise Failed(f"`created_at` is {model['created_at']!r}, which is not a time") from None


@check(
    "basic.model",
    "`GET /v1/models/ID` gives one model; an unknown one is a 404.",
    reason="Programs look for their model before they begin.",
    source=API + "models",
)
def model(server: Server) -> None:
    first = _listed(server)[0]["id"]
    found = server.accepted(server.request("GET", "/v1/models/" + quote(first, safe="")), "id")
    expect(found["id"] == first, f"asked for {first!r}, it gives {found['id']!r}")
    server.refused(server.request("GET", "/v1/models/no-such-model-here"), 404)
