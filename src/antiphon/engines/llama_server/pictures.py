"""How many tokens a picture takes in a llama.cpp prompt, without generating anything.

The server counts a message with pictures exactly, but only within its own rendering of a chat. What a picture adds to
such a count is its own tokens and a separator; the separator is told apart once, by computing one small picture alone.
"""

from __future__ import annotations

import base64
import hashlib
from collections import OrderedDict
from collections.abc import Sequence

from antiphon.api.errors import Failure
from antiphon.engines.answers import Counted, Encoded, Evaluated
from antiphon.engines.attached import Attached

# One black pixel: the smallest PNG there is.
_PROBE = base64.b64decode(
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAAAAAA6fptVAAAACklEQVR4nGNgAAAAAgABSK+kcQAAAABJRU5ErkJggg=="
)
_TEXT = "\n"
_MOST_KNOWN = 4096


class PictureCosts:
    """The costs of pictures on one server, whose prompts have `marker` in place of a picture. Known costs are
    remembered by the picture's hash."""

    def __init__(self, server: Attached, marker: str) -> None:
        self._server = server
        self._marker = marker
        self._known: OrderedDict[bytes, int] = OrderedDict()
        self._beside = 0

    async def measure(self) -> bool:
        """Find out how the server counts. False for servers that do not count pictures."""
        # A prompt that ends with a picture makes the server (build 11549) abort.
        prompt = {"prompt_string": self._marker + _TEXT, "multimodal_data": [_base64(_PROBE)]}
        try:
            alone = await self._server.ask("POST", "/completion", Evaluated, {"prompt": prompt, "n_predict": 0})
            text = await self._server.ask("POST", "/tokenize", Encoded, {"content": _TEXT, "add_special": True})
            once, twice = await self._counted([_PROBE]), await self._counted([_PROBE, _PROBE])
            cost = alone.tokens_evaluated - len(text.tokens)
        except Failure:
            return False
        # A picture beside the probe adds its own tokens and as many for the separator as a second probe would.
        self._beside = once + (twice - once - cost)
        self._known[_digest(_PROBE)] = cost
        return True

    async def of(self, pictures: Sequence[bytes]) -> int:
        """The tokens of all of these pictures."""
        return sum([await self._of(picture) for picture in pictures])

    async def _of(self, picture: bytes) -> int:
        digest = _digest(picture)
        if digest not in self._known:
            self._known[digest] = await self._counted([_PROBE, picture]) - self._beside
        self._known.move_to_end(digest)
        if len(self._known) > _MOST_KNOWN:
            self._known.popitem(last=False)
        return self._known[digest]

    async def _counted(self, pictures: Sequence[bytes]) -> int:
        # The server does not read the media type, it looks at the bytes.
        sources = [{"type": "base64", "media_type": "image/png", "data": _base64(picture)} for picture in pictures]
        blocks = [{"type": "image", "source": source} for source in sources]
        body = {"model": "any", "messages": [{"role": "user", "content": blocks}]}
        return (await self._server.ask("POST", "/v1/messages/count_tokens", Counted, body)).input_tokens


def _base64(picture: bytes) -> str:
    return base64.b64encode(picture).decode()


def _digest(picture: bytes) -> bytes:
    return hashlib.blake2b(picture, digest_size=16).digest()
