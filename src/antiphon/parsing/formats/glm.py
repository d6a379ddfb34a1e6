"""`<tool_call>F<arg_key>K</arg_key><arg_value>V</arg_value></tool_call>`: GLM 4.5 and later, Ling 3, Ring 2.6, Laguna,
Spark 2.5; inside `<tool_calls>` Tencent's Hy3 and Hy4.

GLM 4.5 and 4.6 were trained with line breaks between the tags, 4.7 and 5 without; one reader takes both."""

import re

from antiphon.constraint import Either, Marker, Node
from antiphon.parsing.formats import Example, Format, Grammar, Reasoning
from antiphon.parsing.json.calls import block
from antiphon.parsing.tagged.calls import tagged
from antiphon.parsing.tagged.grammar import calls
from antiphon.parsing.tagged.tags import pairs

OPEN, CLOSE = "<tool_call>", "</tool_call>"
TAGS = ("<arg_key>", "</arg_key>", "<arg_value>", "</arg_value>")
SUFFIX = ":opensource"
_CONCATENATED = re.compile(r"""['"]<tool_call>['"]\s*[+~]\s*[\w.]+\s*-?(?:\}\}|%\})""")


def _suffixed(text: str, suffix: str) -> str:
    return text.replace(">", suffix + ">")


def _grammar(line: str, separator: str) -> Grammar:
    return calls(
        call=lambda name: Marker(f"{OPEN}{name}{line}"),
        parameter=lambda name, kind: f"<arg_key>{name}</arg_key>{line}<arg_value>",
        value_end=f"</arg_value>{line}",
        call_end=CLOSE,
        separator=separator,
    )


def _hunyuan_grammar(after_name: str) -> Grammar:
    def one(suffix: str) -> Grammar:
        return calls(
            before=_suffixed("<tool_calls>", suffix) + "\n",
            call=lambda name: Marker(_suffixed("<tool_call>", suffix) + name + _suffixed(after_name, suffix) + "\n"),
            parameter=lambda name, kind: (
                _suffixed("<arg_key>", suffix) + name + _suffixed("</arg_key>\n<arg_value>", suffix)
            ),
            value_end=_suffixed("</arg_value>", suffix) + "\n",
            call_end=_suffixed("</tool_call>", suffix) + "\n",
            after=_suffixed("</tool_calls>", suffix),
        )

    plain, suffixed = one(""), one(SUFFIX)

    def grammar(tools, most: int) -> Node:  # type: ignore[no-untyped-def]
        return Either((plain(tools, most), suffixed(tools, most)))

    return grammar


def _is_glm(template: str) -> bool:
    return "<arg_key" in template and not _is_hunyuan(template)


def _is_glm47(template: str) -> bool:
    # Ling 3 puts the texts together likewise, but with line breaks.
    return _is_glm(template) and bool(_CONCATENATED.search(template)) and "<role>ASSISTANT" not in template


def _is_hunyuan(template: str) -> bool:
    return ("<arg_key" in template or "arg_key" in template) and "<tool_calls" in template


_HUNYUAN_TAGS = ("<tool_calls>", "</tool_calls>", OPEN, CLOSE, "<tool_sep>", *TAGS)
_HUNYUAN_VISIBLE = (*_HUNYUAN_TAGS, *(_suffixed(tag, SUFFIX) for tag in _HUNYUAN_TAGS))
_read = tagged(pairs(), otherwise=block(CLOSE))
_hunyuan_read = tagged(pairs(calls=True), otherwise=block("</tool_calls>", CLOSE))

FORMATS = (
    Format(
        names=("glm45", "glm", "ling3", "poolside_v1"),
        summary="<arg_key> and <arg_value> in <tool_call> tags, a line each (GLM 4.5 and 4.6, Ling 3, Laguna XS)",
        openers=(OPEN,),
        visible=(CLOSE, *TAGS),
        read=_read,
        recognises=_is_glm,
        rank=30,
        grammar=_grammar("\n", "\n"),
        example=Example(
            "<tool_call>f\n<arg_key>x</arg_key>\n<arg_value>a b</arg_value>\n</tool_call>", (("f", '{"x":"a b"}'),)
        ),
    ),
    Format(
        names=("glm47", "spark25"),
        summary="<arg_key> and <arg_value> in <tool_call> tags, without line breaks (GLM 4.7, GLM 5, Spark 2.5)",
        openers=(OPEN,),
        visible=(CLOSE, *TAGS),
        read=_read,
        recognises=_is_glm47,
        rank=35,
        grammar=_grammar("", ""),
        example=Example(
            "<tool_call>f<arg_key>x</arg_key><arg_value>a b</arg_value></tool_call>", (("f", '{"x":"a b"}'),)
        ),
    ),
    Format(
        names=("iquest_q1",),
        summary="<arg_key> and <arg_value> in <iquest_tool_call> tags (IQuest Q1)",
        openers=("<iquest_tool_call>",),
        visible=("</iquest_tool_call>", *TAGS),
        turn_ends=("<|iquest_end|>",),
        read=tagged(pairs(call="iquest_tool_call"), otherwise=block("</iquest_tool_call>")),
        recognises=lambda template: "<iquest_tool_call>" in template,
        rank=50,
        grammar=calls(
            call=lambda name: Marker(f"<iquest_tool_call>{name}"),
            parameter=lambda name, kind: f"<arg_key>{name}</arg_key><arg_value>",
            value_end="</arg_value>",
            call_end="</iquest_tool_call>",
        ),
        example=Example(
            "<iquest_tool_call>f<arg_key>x</arg_key><arg_value>a b</arg_value></iquest_tool_call>",
            (("f", '{"x":"a b"}'),),
        ),
    ),
    Format(
        names=("hunyuan_v3", "hy_v3", "hunyuan"),
        summary="<tool_call>, <tool_sep>, <arg_key> and <arg_value> in one <tool_calls> block (Hunyuan Hy3)",
        openers=("<tool_call",),
        visible=_HUNYUAN_VISIBLE,
        read=_hunyuan_read,
        recognises=lambda template: _is_hunyuan(template) and "tool_sep" in template,
        rank=45,
        reasoning="hy_v3",
        grammar=_hunyuan_grammar("<tool_sep>"),
        example=Example(
            "<tool_calls>\n<tool_call>f<tool_sep>\n<arg_key>x</arg_key>\n<arg_value>a b</arg_value>\n"
            "</tool_call>\n</tool_calls>",
            (("f", '{"x":"a b"}'),),
        ),
    ),
    Format(
        names=("hy_v4",),
        summary="<tool_call>, <arg_key> and <arg_value> in one <tool_calls> block (Hunyuan Hy4)",
        openers=("<tool_call",),
        visible=_HUNYUAN_VISIBLE,
        read=_hunyuan_read,
        recognises=_is_hunyuan,
        rank=40,
        reasoning="hy_v3",
        grammar=_hunyuan_grammar(""),
        example=Example(
            "<tool_calls>\n<tool_call>f\n<arg_key>x</arg_key>\n<arg_value>a b</arg_value>\n</tool_call>\n</tool_calls>",
            (("f", '{"x":"a b"}'),),
        ),
    ),
)

REASONINGS = (
    Reasoning(
        names=("hy_v3", "hy_v4", "hunyuan"),
        summary="<think>…</think>, in some builds <think:opensource>…</think:opensource> (Hunyuan Hy3, Hy4)",
        opens=("<think>", _suffixed("<think>", SUFFIX)),
        closes=("</think>", _suffixed("</think>", SUFFIX)),
        recognises=_is_hunyuan,
        rank=40,
    ),
)
