"""Invocations under a prefix, `<｜DSML｜invoke name="F"><｜DSML｜parameter name="K" string="true">V…`: DeepSeek V3.2,
V4 and V4.1, and GigaChat 3.5 with a prefix of its own. Every parameter says whether its value is a string or JSON."""

import re
from collections.abc import Callable

from antiphon.constraint import Marker
from antiphon.parsing.formats import Example, Format, Grammar
from antiphon.parsing.tagged.calls import tagged
from antiphon.parsing.tagged.grammar import calls
from antiphon.parsing.tagged.tags import Tags, invokes

_BARS = ("｜", "|", "｜｜", "||", "‖")
"""What stands on either side of the prefix's word. The first is the token's; models that spell it out by hand take
others."""


def _tags(word: str) -> Tags:
    bars = "|".join(map(re.escape, _BARS))
    prefix = rf"(?:{bars}){word}(?:{bars})\s*"
    blocks = prefix + r"(?:function_?calls|tool_?calls|tools?|calls)"
    return invokes(blocks, prefix=prefix, begins=_begins(word))


def _begins(word: str) -> tuple[str, ...]:
    return tuple(f"{begin}{bars}{word}{bars}" for bars in _BARS for begin in ("<", "</"))


def _grammar(prefix: str, block: str, space: str = "") -> Grammar:
    return calls(
        before=f"<{prefix}{space}{block}>\n",
        call=lambda name: Marker(f'<{prefix}{space}invoke name="{name}">\n'),
        parameter=lambda name, kind: (
            f'<{prefix}{space}parameter name="{name}" string="{"true" if kind == "string" else "false"}">'
        ),
        value_end=f"</{prefix}{space}parameter>\n",
        call_end=f"</{prefix}{space}invoke>\n",
        after=f"</{prefix}{space}{block}>",
    )


def _example(prefix: str, block: str, space: str = "") -> Example:
    head = f"<{prefix}{space}"
    tail = f"</{prefix}{space}"
    return Example(
        f'{head}{block}>\n{head}invoke name="f">\n{head}parameter name="x" string="true">a b{tail}parameter>\n'
        f"{tail}invoke>\n{tail}{block}>",
        (("f", '{"x":"a b"}'),),
    )


def _dsml(template: str) -> bool:
    return "｜DSML｜" in template or "dsml_token" in template


def _format(
    names: tuple[str, ...],
    summary: str,
    rank: int,
    recognises: Callable[[str], bool],
    *,
    block: str,
    word: str = "DSML",
    space: str = "",
) -> Format:
    prefix = f"｜{word}｜"
    return Format(
        names=names,
        summary=summary,
        openers=_begins(word)[::2],
        visible=(prefix,),
        read=_READERS[word],
        recognises=recognises,
        rank=rank,
        grammar=_grammar(prefix, block, space),
        example=_example(prefix, block, space),
    )


_READERS = {word: tagged(_tags(word)) for word in ("DSML", "GCML")}
_BLOCK_V41 = re.compile(r"""['"｜] calls""")

FORMATS = (
    _format(
        ("deepseek_v32", "deepseekv32", "deepseek-v32", "deepseek-v3.2"),
        "DSML invocations in a function_calls block (DeepSeek V3.2)",
        62,
        lambda template: _dsml(template) and "function_calls" in template,
        block="function_calls",
    ),
    _format(
        ("deepseek_v4", "deepseekv4", "deepseek-v4"),
        "DSML invocations in a tool_calls block (DeepSeek V4)",
        60,
        _dsml,
        block="tool_calls",
    ),
    _format(
        ("deepseek_v41", "deepseekv41", "deepseek-v41"),
        "DSML invocations in a calls block, a space before every name (DeepSeek V4.1)",
        64,
        lambda template: _dsml(template) and bool(_BLOCK_V41.search(template)),
        block="calls",
        space=" ",
    ),
    _format(
        ("gigachat35",),
        "GCML invocations in a tool_calls block (GigaChat 3.5)",
        64,
        lambda template: "｜GCML｜" in template or "gcml_token" in template,
        block="tool_calls",
        word="GCML",
    ),
)
