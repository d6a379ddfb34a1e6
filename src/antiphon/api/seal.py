"""Signatures of thinking blocks: a keyed, authenticated encryption that needs no store.

When the text of the thinking travels along, its hash is sealed, so that a changed text is noticed. When the
text is withheld, it is sealed itself and comes back with the conversation. A signature is base64 that begins
with eight letters of ours and a short name of the key; one that begins otherwise was made elsewhere, and
cannot be judged.
"""

from __future__ import annotations

import base64
import binascii
import hashlib

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

MAGIC = "Antiphon"
_MAGIC = base64.b64decode(MAGIC)
_SHOWN, _WITHHELD = b"\x00", b"\x01"


class Forged(ValueError):
    """A signature of ours that does not fit the block it came with."""


class Seal:
    """Signs thinking and checks what it has signed, with one key."""

    def __init__(self, key: bytes) -> None:
        if not key:
            raise ValueError("the key that seals thinking must not be empty")
        self._cipher = AESGCM(_derived(key, b"antiphon seal"))
        self._nonces = _derived(key, b"antiphon nonce")
        self._name = _derived(key, b"antiphon name")[:3]

    def sign(self, text: str, *, withheld: bool) -> str:
        """The signature of a block. The same text always gets the same one, so that history stays as it was."""
        kind = _WITHHELD if withheld else _SHOWN
        content = text.encode("utf-8", "replace")
        # The nonce is a keyed hash of all that is sealed: two different contents never share one.
        nonce = hashlib.blake2b(kind + content, key=self._nonces, digest_size=12).digest()
        secret = self._cipher.encrypt(nonce, content if withheld else _digest(content), kind + self._name)
        return base64.b64encode(_MAGIC + self._name + kind + nonce + secret).decode()

    def open(self, thinking: str, signature: str) -> str:
        """The thinking that a block of history stands for: its own text, or the sealed one. May be empty.

        Raises Forged for a signature of this key that was tampered with or belongs to another text.
        """
        if not signature.startswith(MAGIC):
            return thinking
        try:
            raw = base64.b64decode(signature, validate=True)
        except (binascii.Error, ValueError):
            raise Forged from None
        name, kind, nonce, secret = raw[6:9], raw[9:10], raw[10:22], raw[22:]
        if name != self._name:
            return thinking
        try:
            content = self._cipher.decrypt(nonce, secret, kind + name)
        except (InvalidTag, ValueError):
            raise Forged from None
        if kind == _WITHHELD:
            text = content.decode("utf-8")
            if thinking not in ("", text):
                raise Forged
            return text
        # A client may have dropped the text and kept the signature: then there is nothing to restore.
        if thinking and content != _digest(thinking.encode("utf-8", "replace")):
            raise Forged
        return thinking


def _derived(key: bytes, purpose: bytes) -> bytes:
    return hashlib.blake2b(hashlib.sha256(key).digest(), key=purpose, digest_size=32).digest()


def _digest(content: bytes) -> bytes:
    return hashlib.sha256(content).digest()
