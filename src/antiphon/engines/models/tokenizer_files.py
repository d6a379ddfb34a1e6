"""A model's tokenizer files, as Hugging Face lays them out, for engines that take ids and tell nothing of their model.

`tokenizer.json` holds the vocabulary, `tokenizer_config.json` names the tokens that begin and end a turn, the chat
template stands there or in a file beside it, and `config.json` tells the window and whether the model sees pictures.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import huggingface_hub
import msgspec
import tokenizers
from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalEntryNotFoundError

from antiphon.api.offload import offload

_FILES = ["*.json", "*.jinja"]
_SKIPPED = ["*.index.json", "vocab.json", "onnx/*"]
# Characters that take longer to tokenise than a thread takes to begin.
_LARGE = 4000


def _byte_alphabet() -> dict[str, int]:
    """The characters that byte-level vocabularies write bytes with: a printable one stands for itself, the others
    follow from 256 on. (Radford et al., GPT-2, `bytes_to_unicode`.)"""
    printable = {*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)}
    others = [byte for byte in range(256) if byte not in printable]
    return {chr(byte): byte for byte in printable} | {chr(256 + index): byte for index, byte in enumerate(others)}


_BYTES = _byte_alphabet()


class TokenizerFiles(msgspec.Struct, frozen=True, kw_only=True):
    """What the files say. `added` are all tokens that the tokenizer finds in text as a whole, by their text, `special`
    the ids of those that servers leave out of text by default. `window` is in tokens, 0 when not said, `image` the text
    that stands for a picture (empty: the model sees none)."""

    tokenizer: tokenizers.Tokenizer
    chat_template: str
    bos_token: str
    eos_token: str
    added: dict[str, int]
    special: frozenset[int]
    window: int
    image: str
    byte_level: bool

    @property
    def start(self) -> tuple[int, ...]:
        """The ids that the vocabulary puts at the beginning of every text."""
        plain, full = (self.tokenizer.encode("a", add_special_tokens=special).ids for special in (False, True))
        return tuple(full[: full.index(plain[0])]) if plain and plain[0] in full else ()

    @property
    def vocabulary(self) -> int:
        """One more than the highest id."""
        return 1 + max(self.tokenizer.get_vocab(with_added_tokens=True).values(), default=-1)

    @property
    def exact_cuts(self) -> bool:
        """Whether the tokens of two halves are the text of both."""
        ids = [id for half in ("<tool", "_call>") for id in self.tokenizer.encode(half, add_special_tokens=False).ids]
        return bool(self.tokenizer.decode(ids, skip_special_tokens=False) == "<tool_call>")

    def spelt(self, id: int) -> bytes:
        """The bytes that a token stands for, which need not be whole characters; none where there is no such token."""
        token = self.tokenizer.id_to_token(id) or ""
        if token in self.added:
            return token.encode()
        if self.byte_level:
            return bytes(_BYTES[character] for character in token if character in _BYTES)
        byte = re.fullmatch(r"<0x([0-9A-F]{2})>", token)
        return bytes.fromhex(byte[1]) if byte else token.replace("▁", " ").encode()

    async def tokenise(self, segments: Sequence[str]) -> list[int]:
        """The ids of the segments, each tokenised on its own and joined."""
        return await offload(sum(map(len, segments)) > _LARGE, partial(self._encode, segments))

    def _encode(self, segments: Sequence[str]) -> list[int]:
        # Only a batch is encoded without the interpreter; one of a single text keeps to a single processor.
        encoded = (self.tokenizer.encode_batch_fast([text], add_special_tokens=False) for text in segments)
        return [id for (only,) in encoded for id in only.ids]


def find(source: str, hints: Sequence[str] = ()) -> TokenizerFiles | None:
    """The files at the path, or under the hub id, `source`. Without, those that one of the `hints` (what a server calls
    its model) leads to on this machine, or None. Raises ValueError when the source leads nowhere."""
    if source:
        return read(_folder(source))
    for hint in hints:
        try:
            folder = _folder(hint, local=True)
            if (folder / "tokenizer.json").is_file():
                return read(folder)
        except ValueError:
            continue
    return None


def _folder(place: str, *, local: bool = False) -> Path:
    path = Path(place).expanduser()
    # What a server calls its model may be relative to another folder than ours.
    if path.exists() and (path.is_absolute() or not local):
        return path if path.is_dir() else path.parent
    if place.startswith(("/", ".", "~")) or place.count("/") > 1:
        raise ValueError(f"the tokenizer {place} does not exist")
    try:
        return Path(
            huggingface_hub.snapshot_download(
                place, allow_patterns=_FILES, ignore_patterns=_SKIPPED, local_files_only=local
            )
        )
    except (HFValidationError, HfHubHTTPError, LocalEntryNotFoundError, OSError) as error:
        reason = str(error).strip().partition("\n")[0]
        raise ValueError(
            f"the tokenizer {place} is not a folder here and cannot be fetched from the hub: {reason}"
        ) from None


def read(folder: Path) -> TokenizerFiles:
    """What the files of a folder say. Raises ValueError when there is no usable tokenizer among them."""
    file = folder / "tokenizer.json"
    if not file.is_file():
        raise ValueError(f"{folder} holds no tokenizer.json (it is in the model's repository, beside the weights)")
    try:
        tokenizer = tokenizers.Tokenizer.from_file(str(file))
    except Exception as error:  # the library raises the base class
        raise ValueError(f"{file} cannot be read: {error}") from None
    # Either may have been left there by training, and would change texts or their ids.
    tokenizer.no_padding()
    tokenizer.no_truncation()
    settings, model = _json(folder / "tokenizer_config.json"), _json(folder / "config.json")
    added = tokenizer.get_added_tokens_decoder()
    return TokenizerFiles(
        tokenizer=tokenizer,
        chat_template=_template(folder, settings),
        bos_token=_text(settings.get("bos_token")),
        eos_token=_text(settings.get("eos_token")),
        added={token.content: id for id, token in added.items()},
        special=frozenset(id for id, token in added.items() if token.special),
        window=_window(model),
        byte_level="ByteLevel" in str(tokenizer.decoder),
        image=_image(folder, settings, model, {token.content: id for id, token in added.items()}),
    )


def _json(file: Path) -> dict[str, Any]:
    try:
        value = msgspec.json.decode(file.read_bytes())
    except FileNotFoundError:
        return {}
    except (OSError, msgspec.DecodeError) as error:
        raise ValueError(f"{file} cannot be read: {error}") from None
    return value if isinstance(value, dict) else {}


def _text(token: Any) -> str:
    """A token's text, which is written bare or as a record."""
    text = token.get("content") if isinstance(token, dict) else token
    return text if isinstance(text, str) else ""


def _template(folder: Path, settings: dict[str, Any]) -> str:
    """The chat template: of its own file where there is one, as newer models have it; of several, the default one."""
    if (file := folder / "chat_template.jinja").is_file():
        return file.read_text("utf-8")
    template = _json(folder / "chat_template.json").get("chat_template") or settings.get("chat_template") or ""
    if isinstance(template, list):
        named = {each.get("name"): each.get("template") for each in template if isinstance(each, dict)}
        template = named.get("default") or next(iter(named.values()), "")
    return template if isinstance(template, str) else ""


def _window(model: dict[str, Any]) -> int:
    inner = model.get("text_config")
    for record in (model, inner if isinstance(inner, dict) else {}):
        if isinstance(window := record.get("max_position_embeddings"), int):
            return window
    return 0


def _image(folder: Path, settings: dict[str, Any], model: dict[str, Any], added: dict[str, int]) -> str:
    """The text of the token that stands for one picture, with the tokens that families put around it."""
    if "vision_config" not in model and not (folder / "preprocessor_config.json").is_file():
        return ""
    number = model.get("image_token_id", model.get("image_token_index"))
    token = _text(settings.get("image_token")) or next((text for text, id in added.items() if id == number), "")
    if not token:
        return ""
    # A template says best what belongs around it: `<|vision_start|><|image_pad|><|vision_end|>`.
    around = re.search(
        r"((?:<\|?[\w-]+\|?>)?)" + re.escape(token) + r"((?:<\|?[\w-]+\|?>)?)", _template(folder, settings)
    )
    return around[0] if around and all(not text or text in added for text in around.groups()) else token
