"""JSON objects in `<tool_call>` tags: Hermes, Qwen2.5, Qwen3 and many that were trained like them."""

from antiphon.constraint import Marker
from antiphon.parsing.formats import Example, Format
from antiphon.parsing.json.calls import block
from antiphon.parsing.json.grammar import objects
from antiphon.parsing.reader import Reader
from antiphon.parsing.splitter import Reading
from antiphon.parsing.tagged.calls import tagged
from antiphon.parsing.tagged.tags import functions
from antiphon.parsing.tagged.values import Unwrapped

OPEN, CLOSE = "<tool_call>", "</tool_call>"

_objects = block(CLOSE)
_tagged = tagged(functions("tool_call"), wrap=Unwrapped)


def read(reader: Reader, opener: str) -> Reading[bool]:
    """A block of call objects, or of the tags that later Qwens write in the same block."""
    source = reader.source
    space, first = yield from source.past_space()
    if opener and (yield from source.stands(opener, offset=len(space))):
        # Now and then the marker is written twice.
        source.position += len(space) + len(opener)
        first = (yield from source.past_space())[1]
    if first == "<":
        return (yield from _tagged(reader, opener))
    return (yield from _objects(reader, opener))


def _recognises(template: str) -> bool:
    return OPEN in template and "<function=" not in template and "<arg_key>" not in template


FORMATS = (
    Format(
        names=(
            "hermes",
            "qwen2d5",
            "qwen",
            "qwen3",
            "qwen25",
            "qwen3_json",
            "granite4",
            "ernie45",
            "smollm3",
            "trinity",
        ),
        summary="JSON objects in <tool_call> tags (Hermes, Qwen2.5, Qwen3, Granite 4, SmolLM3 and others)",
        openers=(OPEN,),
        visible=(CLOSE,),
        read=read,
        grammar=objects(begin=(Marker(OPEN), "\n"), end=("\n", Marker(CLOSE)), separator=("\n",)),
        recognises=_recognises,
        rank=10,
        example=Example('Hi<tool_call>\n{"name":"f","arguments":{"x":1}}\n</tool_call>', (("f", '{"x":1}'),)),
    ),
)
