"""`web_search_options`: the model may search the web here before it answers.

The API has no place for calls that ran elsewhere than at the client, so neither the searches nor what they found come
back with the next request; what is told of them are the pages that the answer cites.
"""

from __future__ import annotations

from functools import partial

from antiphon.api.conversation import Conversation, GenerationParams
from antiphon.api.errors import BadRequest
from antiphon.api.events import Run
from antiphon.prompt.citations.labelling import Sources
from antiphon.server_tools.registry import ServerTools
from antiphon.server_tools.rounds import CallRules, Rounds
from antiphon.server_tools.tool import Declared
from antiphon.serving.service import Prepared, Service
from antiphon.surfaces.chat_completions import wire

FIELD = "web_search_options"


def declared(request: wire.Request, offered: ServerTools) -> dict[str, Declared]:
    """The tool that a request wants by its name; nothing where it wants none, or none of those `offered` is it. Raises
    BadRequest."""
    options = request.web_search_options
    if options is None or request.input_ids is not None:
        return {}
    place = options.user_location.approximate if options.user_location else None
    found = offered.declare("web_search_20250305", {"user_location": place}, FIELD)
    for name in ("return_token_ids", "logprobs"):
        if found and getattr(request, name):
            raise BadRequest(f"{name}: a reply with {FIELD} is sampled in several parts; leave one of the two out")
    return {each.tool.name: each for each in found or ()}


class Searching:
    """Generates the replies to one request with the tools that it declares. A reply that `cites` tells of its pages."""

    def __init__(
        self,
        service: Service,
        rules: CallRules,
        model: str,
        served: dict[str, Declared],
        *,
        cites: bool,
        session: str | None,
    ) -> None:
        self._service = service
        self._rules = rules
        self._model = model
        self._served = served
        self._cites = cites
        self._session = session

    def run(self, prepared: Prepared, conversation: Conversation, params: GenerationParams) -> Run:
        """What generates one reply, whose first round was prepared from these."""
        rounds = Rounds(
            conversation,
            params,
            self._rules,
            declared=self._served,
            further=self._further,
            sources=Sources() if self._cites else None,
        )
        return partial(rounds.run, partial(self._service.run, prepared))

    async def _further(self, conversation: Conversation, params: GenerationParams) -> Run:
        prepared = await self._service.prepare(self._model, conversation, params, session=self._session, further=True)
        return partial(self._service.run, prepared)
