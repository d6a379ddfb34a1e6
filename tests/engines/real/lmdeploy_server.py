"""LMDeploy's own server, its engine's step scripted: `python lmdeploy_server.py MODEL PORT`.

Its engines need a GPU. All above them is LMDeploy's: routes and validation, sessions and their handles, the generation
loop with stop tokens, cancelling and detokenising. The step here tells a story, but for banned tokens, or what a JSON
schema lists first, and counts what it has seen of a prompt as cached. `/running` tells how many handles are taken.
With `--requests`, where there is a GPU, its PyTorch engine runs in place of the script.
"""

from __future__ import annotations

import argparse
import asyncio
import importlib
import json
from collections.abc import AsyncIterator
from typing import Any

import torch
from lmdeploy.messages import (
    EngineOutput,
    GenerationConfig,
    PytorchEngineConfig,
    RequestMetrics,
    ResponseType,
    ScheduleMetrics,
)
from lmdeploy.serve.core import AsyncEngine

STORY = "Once the sea told a story, naïve and long. " * 60
SLOTS = 2
_STEP = 0.002


class Script:
    """What stands in for the engine below LMDeploy's `AsyncEngine`."""

    def __init__(self, config: PytorchEngineConfig) -> None:
        self.engine_config = config
        self.tokenizer: Any = None
        self.seen: list[list[int]] = []
        self.steps = 0
        self.active = 0

    def create_instance(self) -> Instance:
        return Instance(self)

    def start_loop(self) -> bool:
        return True

    def close(self) -> None:
        pass

    async def get_health_status(self) -> dict[str, Any]:
        metrics = ScheduleMetrics(active_seqs=self.active, scheduler_tick=self.steps)
        return {"alive": True, "message": "", "schedule_metrics": metrics}

    def cached(self, prompt: list[int]) -> int:
        """How many tokens of the prompt were seen, all but the last at most."""
        best = 0
        for seen in self.seen:
            same = next((at for at, (a, b) in enumerate(zip(prompt, seen, strict=False)) if a != b), len(seen))
            best = max(best, min(same, len(prompt) - 1))
        self.seen.append(list(prompt))
        return best

    def written(self, wanted: GenerationConfig) -> list[int]:
        """The ids that are sampled, the end of the turn last."""
        end = self.tokenizer.convert_tokens_to_ids("<|im_end|>")
        if wanted.response_format:
            schema = json.loads(json.dumps(wanted.response_format["json_schema"]["schema"]))
            return [*self.tokenizer.encode(json.dumps(_value(schema)), add_special_tokens=False), end]
        told = [*self.tokenizer.encode(STORY, add_special_tokens=False), end]
        return [id for id in told if not self._banned(id, wanted)]

    def _banned(self, id: int, wanted: GenerationConfig) -> bool:
        scores = torch.zeros(len(self.tokenizer))
        for process in wanted.logits_processors or ():
            scores = process(torch.empty(0, dtype=torch.long), scores)
        return bool(scores[id] < -1)


def _value(schema: dict[str, Any]) -> Any:
    """What a schema of objects, lists and choices lists first."""
    if "enum" in schema:
        return schema["enum"][0]
    if schema.get("type") == "object":
        return {name: _value(each) for name, each in schema.get("properties", {}).items()}
    return {"array": [], "boolean": True, "integer": 1}.get(str(schema.get("type")), "said")


class Instance:
    """One handle of the engine."""

    def __init__(self, script: Script) -> None:
        self._script = script
        self._cancelled = False

    async def async_stream_infer(
        self, session_id: int, input_ids: list[int], gen_config: GenerationConfig, **more: Any
    ) -> AsyncIterator[EngineOutput]:
        self._cancelled = False
        script = self._script
        script.active += 1
        try:
            metrics = RequestMetrics(cached_tokens=script.cached(input_ids))
            stops = gen_config.stop_token_ids or []
            for count, id in enumerate(script.written(gen_config), 1):
                await asyncio.sleep(_STEP)
                script.steps += 1
                if self._cancelled:
                    yield EngineOutput(ResponseType.CANCEL, [], req_metrics=metrics)
                    return
                over = id in stops or count == gen_config.max_new_tokens
                status = ResponseType.FINISH if over else ResponseType.SUCCESS
                yield EngineOutput(status, [id], req_metrics=metrics)
                if over:
                    return
        finally:
            script.active -= 1

    async def async_cancel(self, session_id: int) -> None:
        self._cancelled = True


class Scripted(AsyncEngine):
    """LMDeploy's engine over the script."""

    def _build_pytorch(self, model_path: str, backend_config: PytorchEngineConfig, **more: Any) -> Script:
        script = Script(backend_config)
        script.tokenizer = self.tokenizer.model.model
        return script


def main() -> None:
    """Serve until the process is told to stop."""
    parser = argparse.ArgumentParser()
    parser.add_argument("model")
    parser.add_argument("port", type=int)
    parser.add_argument("--requests", type=int, default=0, help="how many the PyTorch engine works on at once")
    parser.add_argument("--tool-call-parser")
    given = parser.parse_args()
    # The package exports a function of the name of this module's parent.
    server = importlib.import_module("lmdeploy.serve.openai.api_server")
    create_router = server.create_openai_router

    def create_router_and_count(context: Any) -> Any:
        router = create_router(context)
        router.add_api_route("/running", lambda: context.session_manager.request_handle_pool.num_dispatched)
        return router

    server.create_openai_router = create_router_and_count
    if not given.requests:
        server.get_task = lambda *given, **named: ("llm", Scripted)
    server.serve(
        given.model,
        model_name="smol",
        backend="pytorch",
        backend_config=PytorchEngineConfig(max_batch_size=given.requests or SLOTS, enable_metrics=False),
        server_name="127.0.0.1",
        server_port=given.port,
        tool_call_parser=given.tool_call_parser,
    )


if __name__ == "__main__":
    main()
