"""`<think>` … `</think>`, by far the most common marking of thinking."""

from antiphon.parsing.formats import Reasoning

OPEN, CLOSE = "<think>", "</think>"

REASONINGS = (
    Reasoning(
        names=(
            *("think", "default", "qwen3", "holo2", "interns1", "intern-s1", "intern_s1", "deepseek_v3", "deepseek-v3"),
            *("deepseek_v31", "deepseek_v32", "deepseek-v32", "deepseek_v4", "deepseek-v4", "deepseek_v41"),
            *("deepseek-v41", "gigachat35", "glm45", "glm47", "granite_thinking_parser", "kimi_k2", "ling3", "mimo"),
            *("minicpm5", "minicpmv", "nanbeige", "nemotron_3", "nemotron_v2", "nemotron_v3", "olmo3", "poolside_v1"),
            *("spark25", "dots", "trinity"),
        ),
        summary="<think>…</think>, opened by the prompt or by the model",
        opens=(OPEN,),
        closes=(CLOSE,),
        recognises=lambda template: CLOSE in template,
        rank=10,
    ),
    Reasoning(
        names=(
            *("deepseek_r1", "deepseek-r1", "qwen-qwq", "qwen3-thinking", "step3", "step3p5", "step5"),
            *("minimax_m2", "minimax", "minimax_m2_append_think", "minimax-append-think", "iquest_q1"),
        ),
        summary="<think>…</think> where a reply begins inside thinking whatever the prompt says",
        opens=(OPEN,),
        closes=(CLOSE,),
        forced=True,
    ),
)
