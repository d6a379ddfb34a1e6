"""`allowed_domains` and `blocked_domains` of the tools that go to the web."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

import msgspec

from antiphon.api.errors import BadRequest

_MOST_IN_QUERY = 8


class Domains(msgspec.Struct, frozen=True):
    """Which pages a tool may use. An entry is a host, which stands for its subdomains too, with or without a path that
    the page's must begin with; `*` stands for any run of characters of the path."""

    allowed: tuple[str, ...] = ()
    blocked: tuple[str, ...] = ()

    @classmethod
    def of(cls, settings: Mapping[str, Any], where: str) -> Domains:
        """As a declaration has them."""
        allowed, blocked = (_listed(settings, key, where) for key in ("allowed_domains", "blocked_domains"))
        if allowed and blocked:
            raise BadRequest(f"{where}: only one of `allowed_domains` and `blocked_domains` can be used")
        return cls(allowed, blocked)

    def allow(self, url: str) -> bool:
        """Whether a page may be used."""
        if self.allowed and not any(_covers(entry, url) for entry in self.allowed):
            return False
        return not any(_covers(entry, url) for entry in self.blocked)

    def narrowed(self, query: str) -> str:
        """A query that asks a search engine for pages of the allowed hosts only; what it finds is judged again."""
        hosts = list(dict.fromkeys(entry.partition("/")[0] for entry in self.allowed))
        if not hosts or len(hosts) > _MOST_IN_QUERY:
            return query
        return query + " (" + " OR ".join(f"site:{host}" for host in hosts) + ")"


def _listed(settings: Mapping[str, Any], key: str, where: str) -> tuple[str, ...]:
    listed = settings.get(key) or ()
    if not isinstance(listed, list | tuple) or not all(isinstance(each, str) and each.strip() for each in listed):
        raise BadRequest(f"{where}.{key}: Input should be a valid list of domains")
    entries = tuple(each.strip().lower() for each in listed)
    if wrong := next((each for each in entries if "://" in each or "*" in each.partition("/")[0]), None):
        raise BadRequest(f"{where}.{key}: {wrong!r} should be a host such as example.com, without a scheme or *")
    return entries


def _covers(entry: str, url: str) -> bool:
    parts = urlsplit(url)
    host, _, path = entry.partition("/")
    there = (parts.hostname or "").rstrip(".")
    if there != host and not there.endswith("." + host):
        return False
    return _begins((parts.path or "/").lower(), "/" + path) if path else True


def _begins(path: str, pattern: str) -> bool:
    """Whether a path begins with a pattern whose stars stand for anything. By hand: a client's pattern must not be able
    to make an expression that takes for ever."""
    first, *others = pattern.split("*")
    if not path.startswith(first):
        return False
    position = len(first)
    for piece in others:
        index = path.find(piece, position)
        if index < 0:
            return False
        position = index + len(piece)
    return True
