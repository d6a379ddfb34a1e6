"""SGLang on a CPU: `python sglang_server.py --model-path MODEL …`, with the arguments of `sglang.launch_server`."""

from __future__ import annotations

import sys

import torch

# SGLang imports torchvision, whose wheels want a GPU's PyTorch: with another, their operators are not there to be
# described, and no text needs them.
_operators = torch.library.Library("torchvision", "DEF")
for _name in ("nms", "qnms"):
    _operators.define(f"{_name}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")

from sglang.srt.layers.rotary_embedding import base  # noqa: E402

# For a device that it does not know as a CPU's own it takes vLLM's kernel, which it then does not use.
base._is_cpu = True

# Its processes are spawned, and import this file by another name.
if __name__ == "__main__":
    from sglang.launch_server import run_server
    from sglang.srt.server_args import prepare_server_args

    run_server(prepare_server_args(sys.argv[1:]))
