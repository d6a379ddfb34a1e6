"""The grammar of a streamed response, written down independently of the encoder, as a state table for each item."""

from __future__ import annotations

from typing import Any

from openai.types.responses import ResponseStreamEvent

from tests.surfaces.frames import frames as named_frames
from tests.surfaces.sdk_types import complaints

Fields = dict[str, Any]

# Of each type of item: what may follow what within it. An item begins in "" and must end where "done" stands.
PARTED = {
    "": {"part+": "part"},
    "part": {"delta": "part", "annotation+": "part", "text.": "told"},
    "told": {"part.": "closed"},
    "closed": {"done": ""},
}
TOLD = {"": {"delta": "", "text.": "closed"}, "closed": {"done": ""}}
WHOLE = {"": {"done": ""}}
SEARCHED = {
    "": {"in_progress": "begun"},
    "begun": {"searching": "asked"},
    "asked": {"completed": "closed", "done": ""},
    "closed": {"done": ""},
}
CALLED = {
    "": {"in_progress": "begun"},
    "begun": {"delta": "begun", "text.": "asked"},
    "asked": {"completed": "closed", "failed": "closed", "done": ""},
    "closed": {"done": ""},
}
LISTED = {"": {"in_progress": "begun"}, "begun": {"completed": "closed", "failed": "closed"}, "closed": {"done": ""}}
SUMMARISED = {"": {"compacting": "closed"}, "closed": {"done": ""}}
# They have no status.
TIMELESS = ("mcp_list_tools", "mcp_approval_request", "compaction")
RAN = {**CALLED, "asked": {"interpreting": "running"}, "running": {"completed": "closed", "done": ""}}
COMMANDED = {"": {"command+": "command", "done": ""}, "command": {"delta": "command", "text.": ""}}
TABLES = {
    "message": PARTED,
    "reasoning": PARTED,
    "function_call": TOLD,
    "custom_tool_call": TOLD,
    "web_search_call": SEARCHED,
    "mcp_call": CALLED,
    "mcp_list_tools": LISTED,
    "code_interpreter_call": RAN,
    "compaction": SUMMARISED,
    "shell_call": COMMANDED,
}
STAGES = ("in_progress", "searching", "interpreting", "completed", "failed", "delta", "compacting")
SIGNS = {
    "response.content_part.added": "part+",
    "response.reasoning_summary_part.added": "part+",
    "response.content_part.done": "part.",
    "response.reasoning_summary_part.done": "part.",
    "response.shell_call_command.added": "command+",
    "response.output_text.annotation.added": "annotation+",
    "response.output_item.done": "done",
}
MEMBERS = {
    "response.output_text": "text",
    "response.refusal": "refusal",
    "response.reasoning_text": "text",
    "response.reasoning_summary_text": "text",
    "response.function_call_arguments": "arguments",
    "response.custom_tool_call_input": "input",
    "response.mcp_call_arguments": "arguments",
    "response.code_interpreter_call_code": "code",
    "response.shell_call_command": "command",
}
BEYOND = {
    # The original has them, and types them elsewhere or not at all.
    "Response": ("store",),
    "ResponseCustomToolCall": ("status",),
    # What a call of a tool that runs here saw comes back in them.
    "ResponseFunctionWebSearch": ("encrypted_content",),
    "ResponseCodeInterpreterToolCall": ("encrypted_content",),
    "ResponseToolSearchCall": ("encrypted_content",),
    "McpCall": ("encrypted_content",),
    # What is cited is found by it where it comes back.
    "AnnotationURLCitation": ("encrypted_index",),
}
"""Fields that the SDK's models do not have, of each model."""
STATUSES = ("completed", "incomplete", "failed")
ENDS = ("response.completed", "response.incomplete", "response.failed")


def frames(raw: bytes) -> list[Fields]:
    """The events of a stream without its comments."""
    return named_frames(raw, comments=True)


def check(events: list[Fields], *, typed: bool = True) -> Fields:
    """Walk the tables; returns the response that the last event has. Raises AssertionError at the first illegal one.
    A response repeats what its request said; where that was nonsense, the events are not `typed` as the SDK has it."""
    wrong = [each for event in events for each in complaints(ResponseStreamEvent, event, event["type"], BEYOND)]
    # Programs look for a code there that the SDK does not know.
    wrong = [each for each in wrong if "error.code: 'context_length_exceeded'" not in each]
    assert not (typed and wrong), "\n".join(wrong)
    assert [event["sequence_number"] for event in events] == list(range(len(events)))
    first, second, *middle, last = events
    assert (first["type"], second["type"]) == ("response.created", "response.in_progress")
    assert first["response"]["status"] == second["response"]["status"] == "in_progress"
    assert first["response"]["output"] == second["response"]["output"] == []
    items: list[_Item] = []
    for event in middle:
        index = event["output_index"]
        if event["type"] == "response.output_item.added":
            assert index == len(items)
            items.append(_Item(event["item"]))
        else:
            items[index].follow(event)
    assert last["type"] in ENDS
    response: Fields = last["response"]
    assert last["type"] == f"response.{response['status']}"
    assert response["id"] == first["response"]["id"]
    if response["status"] != "failed":
        assert all(item.done is not None for item in items), "an item never closed"
        assert response["output"] == [item.done for item in items]
    return response


class _Item:
    """An item, and where it has come to."""

    def __init__(self, opening: Fields) -> None:
        assert opening["type"] in TIMELESS or opening["status"] == "in_progress"
        self.opening = opening
        self.table = TABLES.get(opening["type"], WHOLE)
        self.state = ""
        self.told = ""
        self.annotations: list[Fields] = []
        self.done: Fields | None = None

    def follow(self, event: Fields) -> None:
        """Take the next event in."""
        assert self.done is None, f"{event['type']} after the item was done"
        name = event["type"]
        if name != "response.output_item.done" and not name.startswith("response.shell_call_command."):
            assert event["item_id"] == self.opening["id"]
        stage = name.rpartition(".")[2]
        sign = SIGNS.get(name) or (stage if stage in STAGES else "text.")
        assert sign in self.table[self.state], f"{name} in {self.opening['type']} while {self.state!r}"
        self.state = self.table[self.state][sign]
        if sign == "command+":
            self.told = ""
        elif sign == "delta":
            assert event["delta"], "an empty delta"
            self.told += event["delta"]
        elif sign == "annotation+":
            assert event["annotation_index"] == len(self.annotations)
            assert 0 <= event["annotation"]["start_index"] < event["annotation"]["end_index"] <= len(self.told)
            self.annotations.append(event["annotation"])
        elif sign == "text.":
            assert event[MEMBERS[name.removesuffix(".done")]] == self.told
        elif sign == "part.":
            assert self.told in event["part"].values()
            assert event["part"].get("annotations", []) == self.annotations
        elif sign == "done":
            self.done = event["item"]
            told = [each for part in self.done.get("content", ()) or () for each in part.get("annotations", ())]
            assert told == self.annotations
            assert self.done["id"] == self.opening["id"]
            assert self.done["type"] == self.opening["type"]
            # A patch that was cut has no status of its own.
            ends = ("completed", "in_progress") if self.done["type"] == "apply_patch_call" else STATUSES
            assert self.done["type"] in TIMELESS or self.done["status"] in ends
