"""A conversation in which even a model of 135 million parameters thinks: it has seen how."""

from __future__ import annotations

_KNOWN = (("Spain", "Madrid"), ("Italy", "Rome"), ("Japan", "Tokyo"), ("Egypt", "Cairo"))

CAPITALS = (
    *(
        text
        for country, capital in _KNOWN
        for text in (
            f"What is the capital of {country}?",
            f"<think>\nI am asked for {capital}.\n</think>\n\n{capital}.",
        )
    ),
    "What is the capital of France?",
)
"""What is said, the user's and the assistant's words in turn. Without sampling the reply is the thought and then the
answer, where the chat template opens the thinking."""
THOUGHT, ANSWER = "I am asked for Paris.", "Paris."
