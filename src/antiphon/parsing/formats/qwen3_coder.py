"""`<function=F><parameter=K>V</parameter></function>`: Qwen3-Coder, Qwen3.5, Nemotron 3, Step 3.5, Intern-S2, Granite
4.2 and others in `<tool_call>` blocks, values on lines of their own; MiMo V2 in such blocks, values between the tags;
Seed-OSS so in a block of its own."""

from collections.abc import Callable

from antiphon.constraint import Marker, Node
from antiphon.parsing.formats import Example, Format, Reasoning
from antiphon.parsing.json.calls import block
from antiphon.parsing.tagged.calls import tagged
from antiphon.parsing.tagged.grammar import calls
from antiphon.parsing.tagged.tags import functions
from antiphon.parsing.tagged.values import Unwrapped

FUNCTION = "<function="


def _function(name: str) -> Node:
    return Marker(f"{FUNCTION}{name}>\n")


def _qwen_call(name: str) -> Node:
    return Marker(f"<tool_call>\n{FUNCTION}{name}>\n")


def _tagged(template: str) -> bool:
    return FUNCTION in template and "<parameter=" in template


def _inline(template: str) -> bool:
    """Whether the template writes a parameter's closing tag right after the value. The last one stands where it writes
    calls down; those before may be examples."""
    head, tag, _ = template.rpartition("</parameter>")
    return tag != "" and not head.rstrip("'\"~+ ").endswith(("\n", "\\n"))


def _format(names: tuple[str, ...], summary: str, recognises: Callable[[str], bool], rank: int, edge: str) -> Format:
    """A family that writes `<tool_call>` blocks, with this `edge` before and behind each value."""
    return Format(
        names=names,
        summary=f"<function=…> and <parameter=…> in <tool_call> tags{summary}",
        openers=("<tool_call>", FUNCTION),
        visible=("</tool_call>",),
        read=tagged(
            functions("tool_call"),
            otherwise=block("</tool_call>"),
            plain=(FUNCTION,),
            wrap=Unwrapped if edge else None,
        ),
        recognises=recognises,
        rank=rank,
        grammar=calls(
            call=_qwen_call,
            parameter=lambda name, kind: f"<parameter={name}>{edge}",
            value_end=f"{edge}</parameter>\n",
            call_end="</function>\n</tool_call>",
            separator="\n",
        ),
        example=Example(
            f"<tool_call>\n<function=f>\n<parameter=x>{edge}a b{edge}</parameter>\n</function>\n</tool_call>",
            (("f", '{"x":"a b"}'),),
        ),
    )


FORMATS = (
    _format(
        (
            "qwen3_coder",
            "qwen3_xml",
            "qwen3coder",
            "nemotron_3",
            "step3p5",
            "step5",
            "interns2-preview",
            "nanbeige",
        ),
        " (Qwen3-Coder, Qwen3.5, Nemotron 3, Step 3.5)",
        lambda template: _tagged(template) and "<seed:tool_call>" not in template,
        rank=30,
        edge="\n",
    ),
    _format(
        ("mimo",),
        ", values without line breaks around them (MiMo V2)",
        lambda template: _tagged(template) and _inline(template),
        rank=31,
        edge="",
    ),
    Format(
        names=("seed_oss",),
        summary="<function=…> and <parameter=…> in <seed:tool_call> tags (Seed-OSS)",
        openers=("<seed:tool_call>", FUNCTION),
        visible=("</seed:tool_call>",),
        read=tagged(functions("seed:tool_call"), otherwise=block("</seed:tool_call>"), plain=(FUNCTION,)),
        recognises=lambda template: "<seed:tool_call>" in template,
        rank=60,
        reasoning="seed_oss",
        grammar=calls(
            before="<seed:tool_call>\n",
            call=_function,
            parameter=lambda name, kind: f"<parameter={name}>",
            value_end="</parameter>\n",
            call_end="</function>\n",
            after="</seed:tool_call>",
        ),
        example=Example(
            "<seed:tool_call>\n<function=f>\n<parameter=x>a b</parameter>\n</function>\n</seed:tool_call>",
            (("f", '{"x":"a b"}'),),
        ),
    ),
)

REASONINGS = (
    Reasoning(
        names=("seed_oss",),
        summary="<seed:think>…</seed:think> (Seed-OSS)",
        opens=("<seed:think>",),
        closes=("</seed:think>",),
        recognises=lambda template: "</seed:think>" in template or "<seed:tool_call>" in template,
        rank=40,
    ),
)
