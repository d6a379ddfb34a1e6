"""Ernie 4.5 and Granite 3.3: `<think>`, then the answer in `<response>`. Ernie calls tools as Hermes does."""

from antiphon.parsing.formats import Reasoning

OPEN, CLOSE = "<response>", "</response>"

REASONINGS = (
    Reasoning(
        names=("ernie45", "granite3.3"),
        summary="<think>…</think>, then perhaps the answer in <response> (Ernie 4.5, Granite 3.3)",
        opens=("<think>",),
        closes=("</think>",),
        dropped=(OPEN, CLOSE),
        recognises=lambda template: "</think>" in template and OPEN in template and "minimax" not in template,
        rank=30,
    ),
)
