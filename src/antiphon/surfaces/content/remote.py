"""Fetching what a request points at by URL, without becoming a way into the network behind the server.

Names are resolved here, every address is judged, and the connection goes to the judged address: a name that
answers differently the second time gains nothing. Redirects are followed by hand, each judged like the first.
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

from antiphon.api.errors import BadRequest

MAX_BYTES = 20 * 1024 * 1024
MAX_SECONDS = 15.0
MAX_REDIRECTS = 3
MAX_ADDRESSES = 20
_NAT64 = ipaddress.ip_network("64:ff9b::/96")


class Fetched(msgspec.Struct, frozen=True):
    """What lay at an address."""

    media_type: str
    data: bytes


class _Refused(OSError):
    """The address is inside a network that the public has no business in."""


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


class _Judging(AbstractResolver):
    def __init__(self, allow_private: bool) -> None:
        self._allow_private = allow_private

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        loop = asyncio.get_running_loop()
        found = await loop.getaddrinfo(host, port, type=socket.SOCK_STREAM, family=socket.AF_UNSPEC)
        results: list[ResolveResult] = []
        for kind, _, proto, _, place in found:
            address = str(place[0])
            if not self._allow_private and not public(address):
                raise _Refused(f"{host} is at a private address")
            results.append(
                ResolveResult(
                    hostname=host, host=address, port=port, family=kind, proto=proto, flags=socket.AI_NUMERICHOST
                )
            )
        return results

    async def close(self) -> None:
        pass


async def fetch(wanted: Mapping[str, str], *, allow_private: bool) -> dict[str, Fetched]:
    """What lies at the addresses; each comes with the path of the field that names it, for complaints."""
    if not wanted:
        return {}
    if len(wanted) > MAX_ADDRESSES:
        raise BadRequest(f"a request may point at {MAX_ADDRESSES} URLs at most; this one points at {len(wanted)}")
    connector = aiohttp.TCPConnector(resolver=_Judging(allow_private), limit=4, use_dns_cache=False)
    timeout = aiohttp.ClientTimeout(total=MAX_SECONDS)
    async with aiohttp.ClientSession(connector=connector, timeout=timeout, trust_env=False) as session:
        found = await asyncio.gather(
            *(_one(session, url, where, allow_private) for url, where in wanted.items()), return_exceptions=True
        )
    for each in found:
        if isinstance(each, BaseException):
            raise each
    return {url: each for url, each in zip(wanted, found, strict=True) if isinstance(each, Fetched)}


async def _one(session: aiohttp.ClientSession, url: str, where: str, allow_private: bool) -> Fetched:
    try:
        async with asyncio.timeout(MAX_SECONDS):
            return await _following(session, url, where, allow_private)
    except TimeoutError:
        raise BadRequest(f"{where}: Unable to download the file: it took more than {MAX_SECONDS:g} seconds") from None
    except _Refused as trouble:
        raise BadRequest(f"{where}: Unable to download the file: {trouble}") from None
    except aiohttp.ClientConnectorError as trouble:
        reason = str(trouble.os_error) if isinstance(trouble.os_error, _Refused) else "no connection"
        raise BadRequest(f"{where}: Unable to download the file: {reason}") from None
    except (aiohttp.ClientError, OSError, ValueError) as trouble:
        raise BadRequest(f"{where}: Unable to download the file: {type(trouble).__name__}") from None


async def _following(session: aiohttp.ClientSession, url: str, where: str, allow_private: bool) -> Fetched:
    for _ in range(MAX_REDIRECTS + 1):
        _judge(url, where, allow_private)
        async with session.get(url, allow_redirects=False) as response:
            if response.status in (301, 302, 303, 307, 308):
                url = urljoin(url, response.headers.get("location", ""))
                continue
            if response.status != 200:
                raise BadRequest(f"{where}: Unable to download the file: status {response.status}")
            return Fetched(response.content_type, await _limited(response, where))
    raise BadRequest(f"{where}: Unable to download the file: more than {MAX_REDIRECTS} redirects")


def _judge(url: str, where: str, allow_private: bool) -> None:
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise BadRequest(f"{where}: Only http and https URLs can be fetched")
    # A literal address never passes through the resolver.
    if not allow_private and _is_literal(parts.hostname) and not public(parts.hostname):
        raise _Refused(f"{parts.hostname} is a private address")


def _is_literal(host: str) -> bool:
    try:
        ipaddress.ip_address(host.partition("%")[0])
    except ValueError:
        return False
    return True


async def _limited(response: aiohttp.ClientResponse, where: str) -> bytes:
    chunks: list[bytes] = []
    size = 0
    async for chunk in response.content.iter_chunked(65536):
        size += len(chunk)
        if size > MAX_BYTES:
            raise BadRequest(f"{where}: Unable to download the file: it is larger than {MAX_BYTES} bytes")
        chunks.append(chunk)
    return b"".join(chunks)
