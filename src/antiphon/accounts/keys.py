"""A key: who it belongs to and what it may do. The secret itself is nowhere here, only its hash."""

from __future__ import annotations

import secrets
from string import ascii_letters, digits
from typing import Literal

import msgspec

Status = Literal["active", "expired", "revoked"]

_PREFIX = {False: "sk-antiphon-", True: "sk-antiphon-admin-"}
_LENGTH = 43
"""Letters and digits of a secret: 256 bits."""
_ALPHABET = ascii_letters + digits


class Allowance(msgspec.Struct, frozen=True, kw_only=True):
    """What a key may use in a minute; 0 is no limit."""

    requests: int = 0
    input_tokens: int = 0
    output_tokens: int = 0
    tool_calls: int = 0


class Secret(msgspec.Struct, frozen=True):
    """What a key is recognised by: its `hashed` form, and the ends of it that people know it by. After `expires` (Unix
    seconds, None: never) it opens nothing."""

    digest: bytes
    hint: str = ""
    expires: float | None = None


class Key(msgspec.Struct, frozen=True, kw_only=True):
    """A key and its rights. `label` is what it is called in the log, in metrics and as the owner of what is kept, and
    stays when its secret is exchanged; `name` is for people (empty: it comes from the settings). `number` counts keys
    from 1. It may use `models`, by their names or patterns (none: all), so much in a minute as `allowance` says (0: as
    much as every key), and `budget` tokens in a calendar month (0: any number). An `admin` sees what all use, and
    changes keys. Times are Unix seconds."""

    label: str
    number: int
    secrets: tuple[Secret, ...] = ()
    name: str = ""
    models: tuple[str, ...] = ()
    allowance: Allowance = Allowance()
    budget: int = 0
    admin: bool = False
    created: float = 0.0
    expires: float | None = None
    revoked: float | None = None

    @property
    def id(self) -> str:
        """What the API calls it."""
        return f"apikey_{self.label}"

    @property
    def hint(self) -> str:
        """The ends of its newest secret."""
        return self.secrets[-1].hint if self.secrets else ""

    def status(self, now: float) -> Status:
        """Whether it may still be used."""
        if self.revoked is not None:
            return "revoked"
        return "expired" if self.expires is not None and self.expires <= now else "active"


def is_name(text: str) -> bool:
    """Whether a key may be called so: in words that can be read, without blanks around them."""
    return bool(text) and text == text.strip() and text.isprintable()


def new_secret(*, admin: bool = False) -> str:
    """A secret that nobody can guess."""
    return _PREFIX[admin] + "".join(secrets.choice(_ALPHABET) for _ in range(_LENGTH))


def hint(secret: str) -> str:
    """The ends of a secret, which tell people which one it is and nobody what it is."""
    kind, _, rest = secret.rpartition("-")
    return f"{kind}-{rest[:3]}…{rest[-4:]}"
