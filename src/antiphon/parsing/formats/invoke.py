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

M2_OPEN, M2_CLOSE = "<minimax:tool_call>", "</minimax:tool_call>"
DOTS_OPEN, DOTS_CLOSE = "<dots_function_call>", "</dots_function_call>"
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


FORMATS = (
    Format(
        names=("minimax_m2", "minimax-m2"),
        summary="<invoke> and <parameter> in <minimax:tool_call> tags (MiniMax M2)",
        openers=(M2_OPEN, "<invoke name="),
        visible=(M2_CLOSE,),
        read=tagged(invokes("minimax:tool_call"), plain=("<invoke name=",)),
        recognises=lambda template: M2_OPEN in template,
        rank=60,
        grammar=invocations(M2_OPEN, M2_CLOSE),
        example=Example(
            f'{M2_OPEN}\n<invoke name="f">\n<parameter name="x">a b</parameter>\n</invoke>\n{M2_CLOSE}',
            (("f", '{"x":"a b"}'),),
        ),
    ),
    Format(
        names=("dots",),
        summary="<invoke> and <parameter> in <dots_function_call> tags (dots)",
        openers=(DOTS_OPEN, "<invoke name="),
        visible=(DOTS_CLOSE,),
        read=tagged(invokes("dots_function_call"), plain=("<invoke name=",), otherwise=block(DOTS_CLOSE)),
        recognises=lambda template: DOTS_OPEN in template,
        rank=60,
        grammar=invocations(DOTS_OPEN, DOTS_CLOSE),
        example=Example(
            f'{DOTS_OPEN}\n<invoke name="f">\n<parameter name="x">a b</parameter>\n</invoke>\n{DOTS_CLOSE}',
            (("f", '{"x":"a b"}'),),
        ),
    ),
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
