"""`<think>` … `</think>`, by far the most common marking of thinking."""

from antiphon.parsing.formats import Reasoning

OPEN, CLOSE = "<think>", "</think>"

REASONINGS = (
    Reasoning(
        names=("think", "qwen3", "default"),
        summary="<think>…</think>, opened by the prompt or by the model",
        opens=(OPEN,),
        closes=(CLOSE,),
        recognises=lambda template: CLOSE in template,
        rank=10,
    ),
    Reasoning(
        names=("deepseek_r1", "deepseek-r1", "qwen-qwq", "qwen3-thinking"),
        summary="<think>…</think> where a reply begins inside thinking whatever the prompt says",
        opens=(OPEN,),
        closes=(CLOSE,),
        forced=True,
    ),
)
