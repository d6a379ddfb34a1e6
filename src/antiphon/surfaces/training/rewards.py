"""POST /v1/trajectories/{label}/reward: a number for a rollout that was recorded (`docs/training.md`)."""

from __future__ import annotations

import asyncio
import math
from urllib.parse import unquote

import msgspec

from antiphon.api.errors import BadRequest, Internal, NotFound
from antiphon.serving.service import Service
from antiphon.storage import files
from antiphon.surfaces.anthropic import failures
from antiphon.surfaces.http import json_body
from antiphon.surfaces.http.exchange import Exchange
from antiphon.surfaces.http.request_headers import check_media_type
from antiphon.surfaces.surface import Operation, Options, Parameter, Route, Surface
from antiphon.trajectories.recorder import Recorder


class Request(msgspec.Struct):
    """A reward. The last one that a label is given counts."""

    reward: float


class Rewarded(msgspec.Struct, kw_only=True):
    """What was taken down."""

    type: str = "reward"
    label: str
    reward: float


_request = msgspec.json.Decoder(Request)


class _Trajectories:
    def __init__(self, recorder: Recorder | None) -> None:
        self._recorder = recorder

    async def reward(self, exchange: Exchange) -> None:
        if self._recorder is None:
            raise NotFound("trajectories: nothing is recorded here; start the server with --record FOLDER")
        check_media_type(exchange)
        request, _ = json_body.read(await exchange.body(1 << 16), _request)
        if not math.isfinite(request.reward):
            raise BadRequest("reward: Input should be a finite number")
        label = unquote(exchange.rest)
        try:
            await asyncio.to_thread(self._recorder.reward, label, request.reward)
        except OSError as error:
            raise Internal(f"the reward cannot be kept: {files.reason(error)}") from None
        await exchange.reply(200, msgspec.json.encode(Rewarded(label=label, reward=request.reward)))


def _routes(service: Service, options: Options) -> list[Route]:
    trajectories = _Trajectories(options.recorder)
    return [Route(method="POST", path="/trajectories/*/reward", answer=trajectories.reward, operation=_REWARD)]


_REWARD = Operation(
    summary="Reward a recorded rollout",
    description="Requests name the rollout they belong to in the header `x-antiphon-label`, or in a member of "
    "their `metadata` of that name.",
    body=Request,
    replies={"application/json": Rewarded},
    parameters=(Parameter("label", "path", "The rollout's label.", required=True),),
    rest="label",
)
SURFACE = Surface(
    name="trajectories",
    routes=_routes,
    failures=failures.FAILURES,
)
