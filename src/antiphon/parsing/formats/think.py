"""`<think>` … `</think>`, by far the most common marking of thinking."""

from antiphon.parsing.formats import Reasoning

OPEN, CLOSE = "<think>", "</think>"

REASONINGS = (
    Reasoning(
        names=(
            *("think", "default", "qwen3", "holo2", "interns1", "intern-s1", "intern_s1", "deepseek_v3", "deepseek-v3"),
            *("deepseek_v31", "kimi_k2", "olmo3", "nemotron_v2"),
        ),
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
