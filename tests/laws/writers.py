"""Each format's own way to write a call of the tool `f` with any input. `write(format, input)` is the whole output.

A writer is made from the format's example: where that has the input as JSON, JSON takes its place; where it has the
parameter `x` with the text `a b`, parameters in the same tags do.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from typing import Any

from antiphon.parsing.formats import Format

Input = dict[str, Any]

# How one parameter of the example is written, its key and value and what is said of its type left open.
_PAIR = "<arg_key>{key}</arg_key>{line}<arg_value>{value}</arg_value>{line}"
_INVOKED = '<{prefix}parameter name="{{key}}">{{value}}</{prefix}parameter>\n'
_DSML = '<{prefix}parameter name="{{key}}" string="{{string}}">{{value}}</{prefix}parameter>\n'
PARAMETERS = {
    "beam": '<rfl:parameter name="{key}">\n{value}\n</rfl:parameter>',
    "deepseek_v32": _DSML.format(prefix="｜DSML｜"),
    "deepseek_v4": _DSML.format(prefix="｜DSML｜"),
    "deepseek_v41": _DSML.format(prefix="｜DSML｜ "),
    "gigachat35": _DSML.format(prefix="｜GCML｜"),
    "glm45": _PAIR.replace("{line}", "\n"),
    "glm47": _PAIR.replace("{line}", ""),
    "iquest_q1": _PAIR.replace("{line}", ""),
    "hunyuan_v3": _PAIR.replace("{line}", "\n"),
    "hy_v4": _PAIR.replace("{line}", "\n"),
    "minimax_m2": _INVOKED.format(prefix=""),
    "dots": _INVOKED.format(prefix=""),
    "step3": _INVOKED.format(prefix="steptml:"),
    "muse": _INVOKED.format(prefix="atem:"),
    "minicpm5": '<param name="{key}">{value}</param>',
    "k2_horizon": _PAIR.replace("{line}", "").replace("arg_", "ifm|arg_"),
    "kimi_k3": '<|open|>argument key="{key}" type="{type}"<|sep|>{value}<|close|>argument<|sep|>',
    "longcat2": _PAIR.replace("{line}", "\n").replace("arg_", "longcat_arg_"),
    "minimax_m3": "]<]minimax[>[<{key}>{value}]<]minimax[>[</{key}>",
    "qwen3_coder": "<parameter={key}>\n{value}\n</parameter>\n",
    "solar_open2": "<|tool_arg:start|>{key}<|tool_arg:value|>{value}<|tool_arg:end|>\n",
    "mimo": "<parameter={key}>{value}</parameter>\n",
    "seed_oss": "<parameter={key}>{value}</parameter>\n",
}
PYTHON = ("pythonic", "lfm2", "olmo3")
KEYED = {"gemma4": '<|"|>', "functiongemma": "<escape>"}


def writer(format: Format) -> Callable[[Input], str]:
    """The writer of a format. Raises AssertionError where its example gives none away."""
    assert format.example is not None
    raw, (name, example) = format.example.raw, format.example.calls[0]
    assert name == "f"
    if format.name in PARAMETERS:
        return _tagged(raw, PARAMETERS[format.name])
    if format.name in PYTHON:
        head, _, tail = re.split(r"f\((.*?)\)", raw, maxsplit=1)
        return lambda input: f"{head}f({', '.join(f'{key}={value!r}' for key, value in input.items())}){tail}"
    if format.name in KEYED:
        quote = KEYED[format.name]
        head, tail = raw.split("{x:", 1)[0], raw.split("n:1}", 1)[1]
        return lambda input: head + _keyed(input, quote) + tail
    assert raw.count(example) == 1, f"the example of {format.name} gives no writer away; add one here"
    head, tail = raw.split(example)
    return lambda input: head + json.dumps(input, ensure_ascii=False) + tail


def _tagged(raw: str, parameter: str) -> Callable[[Input], str]:
    segment = parameter.format(key="x", value="a b", string="true", type="string")
    assert raw.count(segment) == 1, raw
    head, tail = raw.split(segment)

    def one(key: str, value: Any) -> str:
        text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
        string = "true" if isinstance(value, str) else "false"
        return parameter.format(key=key, value=text, string=string, type=_TYPES[type(value)])

    return lambda input: head + "".join(one(key, value) for key, value in input.items()) + tail


def _keyed(value: Any, quote: str) -> str:
    if isinstance(value, dict):
        return "{" + ",".join(f"{key}:{_keyed(each, quote)}" for key, each in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ",".join(_keyed(each, quote) for each in value) + "]"
    return f"{quote}{value}{quote}" if isinstance(value, str) else json.dumps(value)


_TYPES = {
    str: "string", int: "number", float: "number", bool: "boolean", type(None): "null", dict: "object", list: "array",
}  # fmt: skip
