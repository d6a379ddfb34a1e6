"""The names that other servers' flags use are known here too, so that a user's old command line works."""

from __future__ import annotations

import pytest

from antiphon.parsing.formats import format_named, reasoning_named

TOOL_CALL_PARSERS = """
hermes qwen3_json granite4 qwen3_coder qwen3_xml step3p5 mimo seed_oss llama3_json llama4_json pythonic llama4_pythonic
olmo3 mistral deepseek_v3 deepseek_v31 deepseek_v32 deepseek_v4 deepseek_v41 kimi_k2 kimi_k3 glm45 glm47 internlm
intern-s1 openai minimax_m2 minimax_m3 granite granite-20b-fc phi4_mini_json gemma4 functiongemma lfm2 step3 ernie45
xlam 
hunyuan_a13b hy_v3 hy_v4 cohere_command3 cohere_command4 nemotron_json nemotron_nano_v2 jamba longcat apertus gigachat3
minicpm5 ling3 poolside_v1 muse muse_glimmer musespark1x dots k2_horizon plamo3 inkling beam step5
qwen25 qwen nanbeige llama3 deepseekv3 deepseekv31 deepseekv32 deepseekv4 deepseekv41 glm interns1 gpt-oss minimax-m2
minimax-m3 hunyuan apertus2509 gigachat35 iquest_q1 trinity spark25 solar_open2
qwen2d5 qwen3 qwen3coder interns2-preview deepseek-v32 deepseek-v3.2 deepseek-v4
""".split()

REASONING_PARSERS = """
deepseek_r1 qwen3 holo2 deepseek_v3 deepseek_v4 deepseek_v41 glm45 glm47 kimi_k2 kimi_k3 minimax_m2
minimax_m2_append_think minimax_m3 openai_gptoss mistral granite granite_thinking_parser seed_oss ernie45 step3 step3p5
step5 hunyuan_a13b hy_v3 nemotron_v3 gemma4 cohere_command3 cohere_command4 olmo3 mimo minicpmv ling3 muse
deepseek-r1 qwen3-thinking interns1 deepseek-v3 deepseek-v4 deepseek-v41 kimi minimax minimax-append-think minimax-m3
gpt-oss hunyuan nemotron_3 poolside_v1 nanbeige
apertus2509 beam dots gigachat35 hy_v4 inkling iquest_q1 k2_horizon muse_glimmer musespark1x plamo3 solar_open2
default qwen-qwq intern-s1 deepseek-v32
""".split()


@pytest.mark.parametrize("name", TOOL_CALL_PARSERS)
def test_tool_call_parser(name: str) -> None:
    """A value of `--tool-call-parser` in vLLM, SGLang or LMDeploy names a format here."""
    assert name in format_named(name).names


@pytest.mark.parametrize("name", REASONING_PARSERS)
def test_every_reasoning_parser_of_others_has_a_name_here(name: str) -> None:
    """A value of `--reasoning-parser` in vLLM, SGLang or LMDeploy names a marking of thinking here."""
    assert name in reasoning_named(name).names


def test_unknown_names_are_told() -> None:
    """An unknown name is refused with the list of the known ones."""
    with pytest.raises(ValueError, match=r"unknown tool call parser 'x'; known: .*hermes"):
        format_named("x")
    with pytest.raises(ValueError, match=r"unknown reasoning parser 'x'; known: .*think"):
        reasoning_named("x")
