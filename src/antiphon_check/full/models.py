"""What the list of models says of each."""

from __future__ import annotations

from antiphon_check.registry import API, SDK, check
from antiphon_check.server import Server
from antiphon_check.verdict import expect


@check(
    "full.model_limits",
    "Each model says how large prompts and replies may be.",
    reason="Programs that know no model by name decide by it when to compact.",
    source=SDK + "types/model_info.py",
)
def model_limits(server: Server) -> None:
    models = server.accepted(server.request("GET", "/v1/models"), "data")["data"]
    expect(models, "no model is listed")
    for model in models:
        for name in ("max_input_tokens", "max_tokens"):
            value = model.get(name)
            expect(type(value) is int and value > 0, f"`{name}` of {model.get('id')!r} is {value!r}")


@check(
    "full.models_pages",
    "`limit`, `after_id` and `before_id` page through the list.",
    reason="The SDKs page by themselves.",
    source=API + "models-list",
)
def models_pages(server: Server) -> None:
    first = server.accepted(server.request("GET", "/v1/models?limit=1"), "data")
    expect(len(first["data"]) == 1, f"a page of one has {len(first['data'])} models")
    last = first["data"][0].get("id")
    rest = server.accepted(server.request("GET", f"/v1/models?limit=1000&after_id={last}"), "data")
    expect(last not in [model.get("id") for model in rest["data"]], "the page after a model has it again")
