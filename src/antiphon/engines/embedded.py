"""The child process that runs llama.cpp's own HTTP server on a loopback port. `process/engine_process.py` starts it.

    python -m antiphon.engines.embedded      (a `Launch` as one line of JSON on standard input)

It answers with one line of JSON on standard output when it is ready (`{"ready": true, "port": 41321}`) or cannot
be (`{"ready": false, "error": "…"}`), and lives until its standard input closes. So it never outlives the
process that started it, however that one ends. It knows nothing of Antiphon but its own arguments.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import sys
import threading
from typing import Any, Literal

import msgspec

from antiphon.engines.hardware import ceiling, machine
from antiphon.engines.hardware.cache_size import CacheType

_PR_SET_PDEATHSIG = 1
# Each open request holds one of these threads, also while it waits for a slot. With llama.cpp's own choice
# (slots + 4), a handful of waiting requests would keep /tokenize and /health from being answered.
_HTTP_THREADS = 256
_WARNINGS_ONLY = 2
_STEP_TOKENS = 256
# Tokens that must agree before a draft, and tokens of it.
_AGREEING, _DRAFTED = 4, 8
_SIMILAR = 0.9
# How often a thread looks at a barrier before it sleeps. With OpenMP's own 300,000, some milliseconds, it keeps a core
# from the very thread that it waits for: prompts were read at 128 tokens/s beside a busy neighbour, with 10,000 at 164.
# Threads that have all cores are sure to meet such a neighbour.
_SPINS, _SPINS_ON_ALL_CORES = 10_000, 300


class Launch(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What to run. `window` is the context length of each slot in tokens, `parallel` the number of slots, `cache_type`
    that of the values that are kept of each token (all but f16 need flash attention, which llama.cpp uses if it can).
    Of layers that cannot go back in a prompt, `checkpoints` copies are set aside for each slot.
    To `speculate` is to guess tokens, by what stands in the conversation or by the smaller `draft_model`, and to have
    the model check them at once.
    `threads` 0 are as many as fit the machine, `prefill_threads` 0 the same, `gpu_layers` -1 leaves it to the engine,
    `port` 0 takes a free one, `cache_mb` bounds the store of idle conversations. `lora` are the files of adapters, in
    force only for requests that ask for them. `prefixes` is the folder where the states of slots are written to and
    read from. Whoever calls must show `key`, if there is one.
    `log` is the file for llama.cpp's own log; without it all of that goes to standard error. If it takes
    more memory beside the model's file than `memory_mb` (0: no ceiling), it ends, and the file `cause` says so."""

    model: str
    port: int = 0
    name: str = ""
    window: int
    parallel: int = 4
    cache_type: CacheType = "f16"
    checkpoints: int = 32
    speculate: Literal["off", "ngram", "draft"] = "off"
    draft_model: str = ""
    threads: int = 0
    prefill_threads: int = 0
    mmproj: str = ""
    lora: tuple[str, ...] = ()
    gpu_layers: int = -1
    cache_mb: int = 8192
    prefixes: str = ""
    key: str = ""
    log: str = ""
    memory_mb: int = 0
    cause: str = ""


class Answer(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The one line on standard output."""

    ready: bool
    port: int = 0
    error: str = ""


def parameters(launch: Launch) -> Any:
    """The same in llama.cpp's own terms."""
    import xllamacpp

    params = xllamacpp.CommonParams()
    params.model.path = launch.model
    if launch.name:
        params.model_alias = {launch.name}
    if launch.mmproj:
        params.mmproj.path = launch.mmproj
    params.lora_adapters = [xllamacpp.CommonAdapterLoraInfo(path, 0.0) for path in launch.lora]
    params.hostnames = ["127.0.0.1"]
    params.port = launch.port
    # The window is divided among the slots unless they share one cache; `memory.py` says why they do not.
    params.kv_unified = False
    params.n_parallel = launch.parallel
    params.n_ctx = launch.window * launch.parallel
    params.cache_type_k = params.cache_type_v = getattr(xllamacpp.ggml_type, f"GGML_TYPE_{launch.cache_type.upper()}")
    params.n_ctx_checkpoints = launch.checkpoints
    params.n_gpu_layers = launch.gpu_layers
    _speculate(params, launch)
    _set_threads(params, launch)
    if not launch.mmproj and not _accelerated():
        # A step takes as long as its batch, and streams and cancellations wait for it. 256 tokens are read as fast as
        # llama.cpp's 2048 on a processor, where those took ten seconds. (An image may need one large batch.)
        params.n_batch = params.n_ubatch = _STEP_TOKENS
    params.n_threads_http = _HTTP_THREADS
    # The store tells conversations apart by their tokens alone, and the cache of an adapter's is another.
    params.cache_ram_mib = 0 if launch.lora else launch.cache_mb
    if launch.prefixes:
        # Names of files are put behind it as they are.
        params.slot_save_path = os.path.join(launch.prefixes, "")
    # A slot that holds less than this share of a prompt is filled from the store of idle conversations, if that has
    # more of it. (With llama.cpp's own 0.1, a slot that holds the same instructions is good enough.)
    params.slot_prompt_similarity = _SIMILAR
    # Control tokens stay out of the text; each request names the ones that its parser looks for.
    params.special = False
    # No web page has business with an engine, and nobody looks at one.
    params.cors_origins = ""
    params.ui = False
    if launch.key:
        params.api_keys = [launch.key]
    if launch.log:
        params.verbosity = _WARNINGS_ONLY
    return params


def _set_threads(params: Any, launch: Launch) -> None:
    """How many threads write replies and read prompts (llama.cpp takes the latter for the tokens of several streams).

    Threads meet at a barrier many times a token, and wait there while one of them is not running. On two cores, alone
    and beside a busy neighbour (2026-11, tokens/s of one reply): one thread 85 and 83, two that hardly spin 115 and 46,
    two of llama.cpp's own 122 and 36. A prompt is read in large steps with few barriers: two threads read 261 alone and
    164 beside a neighbour, one 160 and 147. Polling between steps (llama.cpp's default 50) gained nothing that could be
    measured, and burns a core while a stream waits.
    """
    params.cpuparams.n_threads = _threads(launch)
    params.cpuparams_batch.n_threads = launch.prefill_threads or params.cpuparams.n_threads
    params.cpuparams.poll = params.cpuparams_batch.poll = 0


def spins(launch: Launch) -> int:
    """How often a thread looks at a barrier before it sleeps."""
    return _SPINS_ON_ALL_CORES if _threads(launch) >= machine.cores() else _SPINS


def _threads(launch: Launch) -> int:
    return launch.threads or machine.threads()


def _speculate(params: Any, launch: Launch) -> None:
    """Where tokens to be checked come from."""
    import xllamacpp

    kinds = xllamacpp.common_speculative_type
    if launch.speculate == "draft":
        params.speculative.types = [kinds.COMMON_SPECULATIVE_TYPE_DRAFT_SIMPLE]
        params.speculative.draft.mparams.path = launch.draft_model
        params.speculative.draft.n_gpu_layers = launch.gpu_layers
    elif launch.speculate == "ngram":
        # Of the kinds without a second model, the one that looks only into the conversation itself; the kind that
        # remembers other conversations (`NGRAM_MOD`) once gave four streams 0.7 of the speed. What a coding assistant
        # writes of a file stands in the prompt with numbers before its lines and other escapes, so few words agree in a
        # row: with llama.cpp's own 12 tokens and drafts of 48, half of them in vain, a session that rewrites a file
        # had 0.85 of the speed without drafts, with these 1.34 (two cores, 2026-11; replies written by one thread. With
        # two, which write half as fast again, drafts gain nothing: 0.95).
        params.speculative.types = [kinds.COMMON_SPECULATIVE_TYPE_NGRAM_SIMPLE]
        params.speculative.ngram_simple.size_n, params.speculative.ngram_simple.size_m = _AGREEING, _DRAFTED


def _accelerated() -> bool:
    """Whether llama.cpp sees anything but processors."""
    import xllamacpp

    processor = xllamacpp.ggml_backend_dev_type.GGML_BACKEND_DEVICE_TYPE_CPU
    return any(device["type"] != processor for device in xllamacpp.get_device_info())


def _follow_parent() -> None:
    """End when the parent does. Reading standard input sees it on every system; Linux can also be asked."""

    def wait() -> None:
        while os.read(0, 4096):
            pass
        os._exit(0)

    threading.Thread(target=wait, daemon=True).start()
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


def _take_line() -> bytes:
    line = b""
    while not line.endswith(b"\n"):
        byte = os.read(0, 1)
        if not byte:
            sys.exit("no arguments on standard input")
        line += byte
    return line


def main() -> None:
    """Run until standard input closes."""
    # Ctrl-C, a service manager's stop and the end of a terminal reach every process of the group at once. The
    # requests that drain still need the engine, so it leaves only when its parent says so.
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    launch = msgspec.json.decode(_take_line(), type=Launch)
    answers = os.dup(1)
    os.dup2(2, 1)  # whatever native code prints must not be taken for an answer
    if launch.log:
        with contextlib.suppress(OSError):
            log = os.open(launch.log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
            os.dup2(log, 1)
            os.dup2(log, 2)
    _follow_parent()
    os.environ.setdefault("GOMP_SPINCOUNT", str(spins(launch)))  # read when the library is loaded
    if launch.memory_mb:
        ceiling.keep(launch.memory_mb << 20, launch.cause)
    try:
        import xllamacpp

        server = xllamacpp.Server(parameters(launch))
        answer = Answer(ready=True, port=int(server.listening_address.rpartition(":")[2]))
    except Exception as error:  # native code raises what it likes; the parent needs one sentence
        answer = Answer(ready=False, error=str(error) or type(error).__name__)
    os.write(answers, msgspec.json.encode(answer) + b"\n")
    if answer.ready:
        threading.Event().wait()


if __name__ == "__main__":
    main()
