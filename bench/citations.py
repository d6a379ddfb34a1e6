"""Is every citation in its source? Asks a running server a hundred questions over ten documents and looks each citation
up: `python -m bench.citations http://127.0.0.1:8000 [number of questions]`.

The documents are texts, blocks and search results in turn, five in a request. An earlier turn of each conversation
cites, so that small models do, too. The exit status is 1 when a citation's words are not at its place in its source.
"""

from __future__ import annotations

import collections
import random
import sys
import time
from typing import Any

import anthropic

_PLACES = ("Ada", "Born", "Cork", "Delft", "Essen", "Fez", "Graz", "Hull", "Izmir", "Jena")
_FACTS = {
    "founded": "The town of {place} was founded in {number}.",
    "river": "Dr. Weir says that its river is {number} km long.",
    "people": "今は{number}人がそこに住んでいます。",
    "bridge": "Its oldest bridge has {number} arches; it was built of stone.",
    "school": "In {place} there are {number} schools.",
}
_SHOWN = 5


def documents() -> list[dict[str, Any]]:
    """Ten documents of five facts each."""
    source, made = random.Random(5), list[dict[str, Any]]()
    for index, place in enumerate(_PLACES):
        facts = [fact.format(place=place, number=source.randint(100, 9999)) for fact in _FACTS.values()]
        blocks = [{"type": "text", "text": fact} for fact in facts]
        fields: dict[str, Any] = {"title": place, "citations": {"enabled": True}}
        if index % 3 == 0:
            text = {"type": "text", "media_type": "text/plain", "data": "  ".join(facts)}
            made.append({"type": "document", "source": text, **fields})
        elif index % 3 == 1:
            made.append({"type": "document", "source": {"type": "content", "content": blocks}, **fields})
        else:
            made.append({"type": "search_result", "source": f"https://{place}.example", "content": blocks, **fields})
    return made


def conversation(shown: list[dict[str, Any]], question: str) -> list[dict[str, Any]]:
    """A question about these documents, after one that was answered with a citation."""
    first = next(each for each in shown if each["type"] == "search_result")
    words = first["content"][0]["text"]
    location = {
        "type": "search_result_location",
        "cited_text": words,
        "source": first["source"],
        "title": first["title"],
        "search_result_index": 0,
        "start_block_index": 0,
        "end_block_index": 1,
    }
    asked = [*shown, {"type": "text", "text": f"When was {first['title']} founded?"}]
    return [
        {"role": "user", "content": asked},
        {"role": "assistant", "content": [{"type": "text", "text": words, "citations": [location]}]},
        {"role": "user", "content": question},
    ]


def true(citation: Any, shown: list[dict[str, Any]]) -> bool:
    """Whether the cited words are at their place in what was sent."""
    if citation.type == "search_result_location":
        found = [each for each in shown if each["type"] == "search_result"][citation.search_result_index]
        blocks = found["content"][citation.start_block_index : citation.end_block_index]
        return bool(citation.cited_text == "".join(block["text"] for block in blocks))
    source = [each for each in shown if each["type"] == "document"][citation.document_index]["source"]
    if citation.type == "char_location":
        return bool(citation.cited_text == source["data"][citation.start_char_index : citation.end_char_index])
    blocks = source["content"][citation.start_block_index : citation.end_block_index]
    return bool(citation.cited_text == "".join(block["text"] for block in blocks))


def ask(client: anthropic.Anthropic, shown: list[dict[str, Any]], question: str) -> anthropic.types.Message:
    """One streamed reply."""
    model = next(iter(client.models.list())).id
    asked: Any = conversation(shown, question)
    with client.messages.stream(model=model, max_tokens=60, messages=asked) as stream:
        return stream.get_final_message()


def main(url: str, number: int) -> int:
    client, made, source = anthropic.Anthropic(base_url=url, api_key="any"), documents(), random.Random(6)
    counts: collections.Counter[str] = collections.Counter()
    begun = time.monotonic()
    for index in range(number):
        first = index * len(made) // number
        shown = [made[(first + step) % len(made)] for step in range(_SHOWN)]
        place, fact = source.choice(shown)["title"], source.choice(list(_FACTS))
        reply = ask(client, shown, f"What do the sources say of the {fact} of {place}?")
        cited = [each for block in reply.content if block.type == "text" for each in block.citations or ()]
        counts["replies that cite"] += bool(cited)
        for citation in cited:
            counts[citation.type] += 1
            counts["wrong"] += not true(citation, shown)
        counts["tags left in text"] += sum(
            "<cite" in b.text or "</cite" in b.text for b in reply.content if b.type == "text"
        )
    print(f"{number} questions, {time.monotonic() - begun:.0f} s")
    for name, count in counts.items():
        print(f"{count:6} {name}")
    return 1 if counts["wrong"] else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], int(sys.argv[2]) if len(sys.argv) > 2 else 100))
