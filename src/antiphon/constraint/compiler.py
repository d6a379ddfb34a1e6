"""The llguidance that a grammar must compile in, asked before an engine has the grammar.

llama.cpp has a build of its own, older than the package, and goes on without a grammar that does not compile there: all
it says is a line in its log. Its library has llguidance's C interface (`llguidance.h`), so the very build that the
embedded engine uses is asked here. Where there is no such library, the package's is.
"""

from __future__ import annotations

import logging
import random
import re
from ctypes import CDLL, POINTER, Structure, byref, c_bool, c_char_p, c_size_t, c_uint32, c_uint64, c_void_p, cast
from ctypes import create_string_buffer as buffer
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Literal

import llguidance

log = logging.getLogger("antiphon")

Kind = Literal["lark", "llguidance"]
"""How a grammar is written: as Lark, or as llguidance's own JSON."""

FUEL = 1_000_000
"""What it may cost to compile the patterns of a grammar, in llguidance's own measure: no more than engines grant."""
STEP_FUEL = 200_000
"""What each token may cost on top, in the same measure. An engine lets go of a grammar that goes beyond, too."""
_PACKAGE = "xllamacpp"
_MESSAGE_BYTES = 4096
_TOKEN = re.compile(r"<\[(\d+)\]>")


def problem(kind: Kind, grammar: str, *, fuel: int = FUEL) -> str:
    """What is wrong with a grammar; empty when it compiles. Takes up to a second: not for the event loop."""
    library = embedded()
    # Of the model's vocabulary no more is known here than that it has these control tokens.
    known = _TOKEN.sub(lambda found: f"<[{FIRST_CONTROL + int(found[1]) % CONTROLS}]>", grammar)
    return library.problem(kind, known, fuel=fuel) if library else packaged(kind, known, fuel)


def problem_within(kind: Kind, grammar: str, opening: bytes, *, fuel: int, step_fuel: int) -> str:
    """The same, and what is wrong behind the `opening`, where a token may cost so much. Nothing is known of the latter
    where the embedded engine's build is not to be had."""
    library = embedded()
    if library is None:
        return packaged(kind, grammar, fuel)
    costs = {"fuel": fuel, "step_fuel": step_fuel}
    problem, allowed = library.step(kind, grammar, opening, **costs)
    letter = next((bytes([byte]) for byte in _LIKELY if byte in allowed), b"")
    # What was worked out for the last place is not worked out again: another matcher costs what a long token does.
    return problem or (library.step(kind, grammar, opening + letter, **costs)[0] if letter else "")


def packaged(kind: Kind, grammar: str, fuel: int = FUEL) -> str:
    """What is wrong with a grammar by the package's build."""
    limits = llguidance.LLParserLimits(initial_lexer_fuel=fuel, verbose_errors=False)
    whole = llguidance.grammar_from("lark", grammar.removeprefix("%llguidance {}")) if kind == "lark" else grammar
    return str(llguidance.LLMatcher.validate_grammar(whole, limits=limits))


@cache
def embedded() -> Library | None:
    """The build of the embedded engine, if it is installed and tells right from wrong."""
    spec = find_spec(_PACKAGE)
    folders = (spec.submodule_search_locations or []) if spec else []
    for path in (path for folder in folders for path in Path(folder).glob(f"{_PACKAGE}*") if path.is_file()):
        try:
            library = Library(path)
        except (OSError, AttributeError, ValueError) as reason:
            log.debug("no llguidance can be asked in %s: %s", path, reason)
            continue
        if not library.problem("lark", 'start: "a"') and library.problem("lark", "start: missing"):
            return library
    log.info("llama.cpp's own build of llguidance cannot be asked: grammars are tried with the package's")
    return None


class _Tokens(Structure):
    """`LlgTokenizerInit`."""

    _fields_ = (
        ("vocab_size", c_uint32),
        ("tok_eos", c_uint32),
        ("token_lens", POINTER(c_uint32)),
        ("token_bytes", c_char_p),
        ("tokenizer_json", c_char_p),
        ("tokenize_assumes_string", c_bool),
        ("tokenize_fn", c_void_p),
        ("use_approximate_greedy_tokenize_fn", c_bool),
        ("tokenize_user_data", c_void_p),
        ("slices", c_void_p),
    )


class _Init(Structure):
    """`LlgConstraintInit` with its `LlgParserLimits`, and room for what later versions add."""

    _fields_ = (
        ("tokenizer", c_void_p),
        ("log_buffer_level", c_uint32),
        ("log_stderr_level", c_uint32),
        ("ff_tokens_ok", c_bool),
        ("backtrack_ok", c_bool),
        ("max_items_in_row", c_size_t),
        ("initial_lexer_fuel", c_uint64),
        ("step_lexer_fuel", c_uint64),
        ("step_max_items", c_size_t),
        ("max_lexer_states", c_size_t),
        ("max_grammar_size", c_size_t),
        ("precompute_large_lexemes", c_bool),
        ("verbose_errors", c_bool),
        ("later", c_uint64 * 32),
    )


class Library:
    """llguidance within a shared library, with a small vocabulary of its own. Raises OSError or AttributeError where it
    is not there, ValueError where it takes no vocabulary. Threads may ask it at once."""

    def __init__(self, path: Path) -> None:
        self._functions = functions = CDLL(str(path))
        functions.llg_new_tokenizer.argtypes = (c_void_p, c_char_p, c_size_t)
        functions.llg_constraint_init_set_defaults.argtypes = (c_void_p, c_void_p)
        functions.llg_validate_grammar.argtypes = (c_void_p, c_char_p, c_char_p, c_char_p, c_size_t)
        functions.llg_new_matcher.argtypes = (c_void_p, c_char_p, c_char_p)
        functions.llg_matcher_consume_tokens.argtypes = (c_void_p, POINTER(c_uint32), c_size_t)
        for name in ("get_error", "compute_mask", "get_mask", "is_stopped"):
            getattr(functions, f"llg_matcher_{name}").argtypes = (c_void_p,)
        functions.llg_free_matcher.argtypes = (c_void_p,)
        functions.llg_new_tokenizer.restype = functions.llg_new_matcher.restype = c_void_p
        functions.llg_matcher_get_error.restype = c_char_p
        functions.llg_matcher_is_stopped.restype = c_bool
        functions.llg_matcher_get_mask.restype = POINTER(c_uint32)
        # What speeds up the masks of large vocabularies takes its time beforehand.
        self._no_slices = (c_char_p * 1)(None)
        self._tokenizer = self._tokens(vocabulary())

    def problem(self, kind: Kind, grammar: str, *, fuel: int = FUEL) -> str:
        """What is wrong with a grammar; empty when it compiles."""
        message = buffer(_MESSAGE_BYTES)
        status = self._functions.llg_validate_grammar(
            byref(self._init(fuel, STEP_FUEL)), kind.encode(), grammar.encode(), message, _MESSAGE_BYTES
        )
        return _read(message.value) if status < 0 else ""

    def step(
        self, kind: Kind, grammar: str, opening: bytes, *, fuel: int = FUEL, step_fuel: int = STEP_FUEL
    ) -> tuple[str, bytes]:
        """What is wrong with a grammar, or behind the `opening`, and the bytes that may come there."""
        functions = self._functions
        matcher = functions.llg_new_matcher(byref(self._init(fuel, step_fuel)), kind.encode(), grammar.encode())
        try:
            # The ids of bytes are the bytes.
            functions.llg_matcher_consume_tokens(matcher, (c_uint32 * len(opening))(*opening), len(opening))
            is_over = functions.llg_matcher_is_stopped(matcher)
            if not is_over:
                functions.llg_matcher_compute_mask(matcher)
            if error := functions.llg_matcher_get_error(matcher):
                return _read(error), b""
            if is_over:
                return "", b""
            mask = functions.llg_matcher_get_mask(matcher)
            return "", bytes(byte for byte in range(256) if mask[byte // 32] >> byte % 32 & 1)
        finally:
            functions.llg_free_matcher(matcher)

    def _init(self, fuel: int, step_fuel: int) -> _Init:
        init = _Init()
        self._functions.llg_constraint_init_set_defaults(byref(init), self._tokenizer)
        init.initial_lexer_fuel, init.step_lexer_fuel, init.log_stderr_level = fuel, step_fuel, 0
        return init

    def _tokens(self, tokens: list[bytes]) -> int:
        lengths = (c_uint32 * len(tokens))(*map(len, tokens))
        init = _Tokens(
            vocab_size=len(tokens),
            tok_eos=FIRST_CONTROL - 1,
            token_lens=lengths,
            token_bytes=b"".join(tokens),
            tokenize_assumes_string=True,
            use_approximate_greedy_tokenize_fn=True,
            slices=cast(self._no_slices, c_void_p),
        )
        message = buffer(_MESSAGE_BYTES)
        tokenizer = self._functions.llg_new_tokenizer(byref(init), message, _MESSAGE_BYTES)
        if not tokenizer:
            raise ValueError(_read(message.value))
        return int(tokenizer)


def _read(message: bytes) -> str:
    return message.decode("utf-8", "replace")


FIRST_CONTROL, CONTROLS = 257, 256
_WORDS = 500
_LIKELY = b"aA0 " + bytes(range(0x21, 0x7F))
_LETTERS, _MARKS = "etaoinshrdlucmfwypvbgkjqxz", " \n\"'{}[](),.:;-_/\\=+*<>#@!?"


def vocabulary() -> list[bytes]:
    """Bytes by their own ids, the end, control tokens, and some more that look like those of a model: words, numbers
    and marks, always the same ones."""
    source = random.Random(0)
    tokens = [*(bytes([byte]) for byte in range(256)), *(b"\xff<%d>" % index for index in range(CONTROLS + 1))]
    for index in range(_WORDS):
        length = source.randint(2, 7)
        match index % 8:
            case 5:
                text = "".join(source.choices("0123456789", k=length % 3 + 2))
            case 6:
                text = "".join(source.choices(_MARKS, k=length % 3 + 1))
            case 7:
                text = "".join(map(chr, source.choices(range(0xA1, 0x9FFF), k=length % 3 + 1)))
            case form:
                text = ("", " ")[form % 2] + "".join(source.choices(_LETTERS, k=length))
        tokens.append(text.encode())
    return tokens
