"""Where the references of a schema point: identifiers, anchors and JSON pointers, by every draft's own rules."""

from __future__ import annotations

from contextlib import suppress
from typing import Any
from urllib.parse import urldefrag, urljoin

from antiphon.constraint.vocabulary import at_pointer

_META = ("http://json-schema.org/", "https://json-schema.org/")


class Unresolved(ValueError):
    """A reference points to nothing that is here. The message says why, to people."""


class OfMeta(Unresolved):
    """A reference points to a schema of schemas, which nobody is held to here."""


class References:
    """The places of one document that can be referred to. Nothing is ever fetched."""

    def __init__(self, document: Any) -> None:
        self._document = document
        self._resources: dict[str, Any] = {"": document}
        self._bases: dict[int, str] = {}
        # A stack of our own: what a client sends may be nested deeper than Python's.
        waiting: list[tuple[Any, str]] = [(document, "")]
        while waiting:
            node, base = waiting.pop()
            if isinstance(node, dict):
                base = self._identified(node, base)
            children = node.values() if isinstance(node, dict) else node if isinstance(node, list) else ()
            waiting += [(child, base) for child in children]

    def _identified(self, node: dict[str, Any], base: str) -> str:
        for keyword in ("$id", "id"):
            identifier = node.get(keyword)
            if isinstance(identifier, str):
                address = _joined(base, identifier)
                self._resources.setdefault(address, node)
                # A fragment names the place alone, as an anchor does; `id` may also be a property's description.
                if keyword == "$id" and "#" not in identifier.rstrip("#"):
                    base = address
        for keyword in ("$anchor", "$dynamicAnchor"):
            if isinstance(node.get(keyword), str):
                self._resources.setdefault(f"{base}#{node[keyword]}", node)
        self._bases[id(node)] = base
        return base

    def target(self, node: dict[str, Any], reference: str) -> Any:
        """What a reference in this node points to. Raises Unresolved."""
        address = _joined(self._bases.get(id(node), ""), reference)
        if address in self._resources:
            return self._resources[address]
        resource, fragment = urldefrag(address)
        # Schemas that were put together by hand keep the pointers of their parts' old homes.
        for start in (self._resources.get(resource), self._document if reference.startswith("#") else None):
            if start is not None and (not fragment or fragment.startswith("/")):
                with suppress(LookupError):
                    part = at_pointer(start, fragment)
                    if isinstance(part, dict | bool):
                        return part
        if address.startswith(_META):
            raise OfMeta("meta-schemas are neither enforced nor checked")
        if reference.startswith("#"):
            raise Unresolved(f"{reference} points to nothing in this schema")
        raise Unresolved(f"{reference} points outside this schema; references are not fetched, so put it under $defs")


def _joined(base: str, reference: str) -> str:
    try:
        return urljoin(base, reference).rstrip("#")
    except ValueError:
        return reference
