"""IBM Granite 3 and the older 20B function calling model: a JSON list after a marker that nothing closes. Granite 4
writes as Hermes does. Granite 3.2 marks its thinking with sentences, 3.3 with tags."""

from antiphon.constraint import Either, Literal, Marker
from antiphon.parsing.formats import Example, Format, Reasoning
from antiphon.parsing.json.calls import block
from antiphon.parsing.json.grammar import object_list, objects

CALL, TAG, FUNCTION = "<|tool_call|>", "<tool_call>", "<function_call>"


def _recognises(template: str) -> bool:
    return "<|start_of_role|>" in template and "available_tools" in template and "<tools>" not in template


FORMATS = (
    Format(
        names=("granite",),
        summary="a JSON list after <|tool_call|> or <tool_call> (Granite 3.0 to 3.3)",
        openers=(CALL, TAG),
        read=block("<|/tool_call|>", "</tool_call>", "<|end_of_text|>"),
        grammar=object_list(before=(Marker(CALL), Either((Literal(" "), Literal(""))))),
        recognises=_recognises,
        rank=40,
        reasoning="granite",
        example=Example(f'{CALL} [{{"name": "f", "arguments": {{"x": 1}}}}]', (("f", '{"x": 1}'),)),
    ),
    Format(
        names=("granite-20b-fc", "granite_20b_fc"),
        summary="JSON objects, each after <function_call> (Granite 20B function calling)",
        openers=(FUNCTION,),
        read=block("</function_call>", "<|endoftext|>"),
        grammar=objects(begin=(f"{FUNCTION} ",), separator=("\n",)),
        recognises=lambda template: FUNCTION in template,
        rank=12,
        example=Example(f'{FUNCTION} {{"name": "f", "arguments": {{"x": 1}}}}', (("f", '{"x": 1}'),)),
    ),
)
REASONINGS = (
    Reasoning(
        names=("granite",),
        summary="sentences: Here is my thought process: … Here is my response: … (Granite 3.2)",
        opens=("Here is my thought process:", "Here's my thought process:"),
        closes=("Here is my response:", "Here's my response:"),
        recognises=lambda template: "my thought process:" in template,
        rank=30,
    ),
)
