"""`<invoke name="F"><parameter name="K">V</parameter></invoke>` in the spellings of MiniMax M2, dots, Step 3, Muse (see
also muse.py) and MiniCPM5."""

import re

import msgspec

from antiphon.constraint import Marker
from antiphon.parsing.formats import Example, Format
from antiphon.parsing.json.calls import block
from antiphon.parsing.tagged.calls import tagged
from antiphon.parsing.tagged.grammar import calls, invocations
from antiphon.parsing.tagged.tags import Tags, invokes
from antiphon.parsing.tagged.values import Unsectioned

STEP_OPEN, STEP_CLOSE = "<｜tool_calls_begin｜>", "<｜tool_calls_end｜>"
STEP_CALL, STEP_CALL_END, STEP_SEP = "<｜tool_call_begin｜>", "<｜tool_call_end｜>", "<｜tool_sep｜>"


def _step_tags() -> Tags:
    tags = invokes(prefix="steptml:", between=("function",))
    return msgspec.structs.replace(
        tags,
        words=(*tags.words, "｜tool"),
        patterns=(
            ("block", re.compile("<｜tool_(?:calls?_begin|sep)｜>")),
            ("block_end", re.compile("<｜tool_calls?_end｜>")),
            *tags.patterns,
        ),
    )


def _in_block(names: tuple[str, ...], summary: str, tag: str) -> Format:
    opens, closes = f"<{tag}>", f"</{tag}>"
    return Format(
        names=names,
        summary=summary,
        openers=(opens, "<invoke name="),
        visible=(closes,),
        read=tagged(invokes(tag), plain=("<invoke name=",), otherwise=block(closes)),
        recognises=lambda template: opens in template,
        rank=60,
        grammar=invocations(opens, closes),
        example=Example(
            f'{opens}\n<invoke name="f">\n<parameter name="x">a b</parameter>\n</invoke>\n{closes}',
            (("f", '{"x":"a b"}'),),
        ),
    )


FORMATS = (
    _in_block(
        ("minimax_m2", "minimax-m2"),
        "<invoke> and <parameter> in <minimax:tool_call> tags (MiniMax M2)",
        "minimax:tool_call",
    ),
    _in_block(("dots",), "<invoke> and <parameter> in <dots_function_call> tags (dots)", "dots_function_call"),
    Format(
        names=("step3",),
        summary="<steptml:invoke> between full-width markers (Step 3)",
        openers=(STEP_OPEN, STEP_CALL, "<steptml:invoke"),
        visible=(STEP_CLOSE, STEP_CALL_END, STEP_SEP),
        read=tagged(_step_tags()),
        recognises=lambda template: "<steptml:invoke" in template,
        rank=60,
        grammar=calls(
            before=STEP_OPEN,
            call=lambda name: Marker(f'\n{STEP_CALL}function{STEP_SEP}<steptml:invoke name="{name}">\n'),
            parameter=lambda name, kind: f'<steptml:parameter name="{name}">',
            value_end="</steptml:parameter>\n",
            call_end="</steptml:invoke>" + STEP_CALL_END,
            after="\n" + STEP_CLOSE,
        ),
        example=Example(
            f'{STEP_OPEN}\n{STEP_CALL}function{STEP_SEP}<steptml:invoke name="f">\n'
            f'<steptml:parameter name="x">a b</steptml:parameter>\n</steptml:invoke>{STEP_CALL_END}\n{STEP_CLOSE}',
            (("f", '{"x":"a b"}'),),
        ),
    ),
    Format(
        names=("minicpm5",),
        summary="<function name=…> with <param name=…> (MiniCPM5)",
        openers=("<function name=", "<functionname="),
        read=tagged(invokes(invoke="function", parameter="param"), wrap=Unsectioned),
        recognises=lambda template: "<function name=" in template and "<param name=" in template,
        rank=50,
        grammar=calls(
            call=lambda name: Marker(f'<function name="{name}">'),
            parameter=lambda name, kind: f'<param name="{name}">',
            value_end="</param>",
            call_end="</function>",
            separator="\n",
        ),
        example=Example('<function name="f"><param name="x">a b</param></function>', (("f", '{"x":"a b"}'),)),
    ),
)
