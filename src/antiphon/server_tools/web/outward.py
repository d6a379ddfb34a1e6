"""The one way out: whatever a request points at is fetched here, without becoming a way into the network behind the
server.

Names are resolved here, every address is judged, and the connection goes to the judged address: a name that answers
differently the second time gains nothing. Redirects are followed by hand, each judged like the first. Nothing that came
with the client's request (keys, cookies, headers) goes along.
"""

from __future__ import annotations

import asyncio
import ipaddress
import socket
from collections.abc import Mapping
from urllib.parse import urljoin, urlsplit

import aiohttp
import msgspec
from aiohttp.abc import AbstractResolver, ResolveResult

MAX_REDIRECTS = 3
_NAT64 = ipaddress.ip_network("64:ff9b::/96")
_MOVED = (301, 302, 303, 307, 308)


class Refused(OSError):
    """The address is not one that may be reached from here. The message says why."""


class Page(msgspec.Struct, frozen=True, kw_only=True):
    """What lay at an address, which is where redirects led. `charset` as it was told, else empty."""

    url: str
    status: int
    media_type: str
    charset: str
    data: bytes


class TooMuch(OSError):
    """What lies at an address is larger than is wanted."""


class TooFar(OSError):
    """One redirect led to the next."""


def public(address: str) -> bool:
    """Whether an IP address belongs to the public internet, whatever it is wrapped in."""
    try:
        ip = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return False
    if isinstance(ip, ipaddress.IPv6Address):
        inner = ip.ipv4_mapped or ip.sixtofour or (ip.teredo[1] if ip.teredo else None)
        if inner is None and ip in _NAT64:
            inner = ipaddress.IPv4Address(int(ip) & 0xFFFFFFFF)
        if inner is not None:
            return public(str(inner))
    return ip.is_global and not (ip.is_multicast or ip.is_reserved or ip.is_unspecified)


class Outward(AbstractResolver):
    """Reaches the public internet, and private networks too where the operator allows it."""

    def __init__(self, *, allow_private: bool = False) -> None:
        self._allow_private = allow_private

    def judge(self, url: str) -> None:
        """Raise Refused for an address that can be told by itself not to be one to reach."""
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise Refused("Only http and https URLs can be fetched")
        # A literal address never passes through the resolver.
        if not self._allow_private and _is_literal(parts.hostname) and not public(parts.hostname):
            raise Refused(f"{parts.hostname} is a private address")

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        """The addresses behind a name, all of which may be reached. Raises Refused when one may not."""
        loop = asyncio.get_running_loop()
        found = await loop.getaddrinfo(host, port, type=socket.SOCK_STREAM, family=socket.AF_UNSPEC)
        results: list[ResolveResult] = []
        for kind, _, proto, _, place in found:
            address = str(place[0])
            if not self._allow_private and not public(address):
                raise Refused(f"{host} is at a private address")
            results.append(
                ResolveResult(
                    hostname=host, host=address, port=port, family=kind, proto=proto, flags=socket.AI_NUMERICHOST
                )
            )
        return results

    async def close(self) -> None:
        """Nothing is held."""

    def session(self, *, seconds: float) -> aiohttp.ClientSession:
        """Connections that go only where this allows, with no proxy or cookie of the machine's."""
        connector = aiohttp.TCPConnector(resolver=self, limit=4, use_dns_cache=False)
        timeout = aiohttp.ClientTimeout(total=seconds)
        jar = aiohttp.DummyCookieJar()
        return aiohttp.ClientSession(connector=connector, timeout=timeout, cookie_jar=jar, trust_env=False)

    async def get(
        self, session: aiohttp.ClientSession, url: str, *, most: int, headers: Mapping[str, str] | None = None
    ) -> Page:
        """What lies at an address, `most` bytes of it. Raises Refused, TooMuch, TooFar, or whatever went wrong on the
        way (aiohttp.ClientError, OSError, TimeoutError, ValueError)."""
        for _ in range(MAX_REDIRECTS + 1):
            self.judge(url)
            try:
                async with session.get(url, allow_redirects=False, headers=headers) as response:
                    if response.status in _MOVED:
                        url = urljoin(url, response.headers.get("location", ""))
                        continue
                    return Page(
                        url=url,
                        status=response.status,
                        media_type=response.content_type,
                        charset=response.charset or "",
                        data=await _limited(response, most) if response.status == 200 else b"",
                    )
            except aiohttp.ClientConnectorError as trouble:
                if isinstance(trouble.os_error, Refused):
                    raise trouble.os_error from None
                raise
        raise TooFar(f"more than {MAX_REDIRECTS} redirects")


def _is_literal(host: str) -> bool:
    try:
        ipaddress.ip_address(host.partition("%")[0])
    except ValueError:
        return False
    return True


async def _limited(response: aiohttp.ClientResponse, most: int) -> bytes:
    chunks: list[bytes] = []
    size = 0
    async for chunk in response.content.iter_chunked(65536):
        size += len(chunk)
        if size > most:
            raise TooMuch(f"it is larger than {most} bytes")
        chunks.append(chunk)
    return b"".join(chunks)


def reason(trouble: BaseException) -> str:
    """Why an address could not be reached, in words that tell nothing of the network behind the server."""
    if isinstance(trouble, Refused | TooMuch | TooFar):
        return str(trouble)
    return "no connection" if isinstance(trouble, aiohttp.ClientConnectorError) else type(trouble).__name__
