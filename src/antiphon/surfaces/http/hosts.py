"""By which names a server that asks for no key may be called (the `Host` header).

A page on the web can have its own name pointed at this machine while it is open (DNS rebinding). To the browser the
server is then the page's own, and what the page reads by GET carries no `Origin`. But the page cannot change the name,
and the name comes with every request. So, where no key guards, a name must be one that nobody else can have pointed
here: `localhost`, an address in numbers that the server has, the name listened on, or one that the operator listed.
"""

from __future__ import annotations

import ipaddress
import re

from antiphon.api.errors import Forbidden
from antiphon.surfaces.http.exchange import Exchange
from antiphon.surfaces.surface import Options

Address = ipaddress.IPv4Address | ipaddress.IPv6Address

# RFC 9110, 7.2: a host and perhaps a port. Several header lines are joined by commas, and no name holds one.
_HOST = re.compile(r"(?P<name>\[[0-9A-Fa-f:.]+(?:%[^\s\]]+)?\]|[^\s,:/?#@\[\]]+)(?::[0-9]*)?")
_LONGEST_SHOWN = 100


def address(name: str) -> Address | None:
    """The address that is written as `name` (IPv6 with or without brackets), None for a name that is none."""
    try:
        ip = ipaddress.ip_address(name.strip("[]").partition("%")[0])
    except ValueError:
        return None
    mapped = ip.ipv4_mapped if ip.version == 6 else None
    return mapped or ip


def local(name: str) -> bool:
    """Whether a name means the machine that uses it, whoever else might be asked: no name server is."""
    literal = address(name)
    if literal is not None:
        return literal.is_loopback
    name = name.lower().removesuffix(".")
    return name == "localhost" or name.endswith(".localhost")


def listed(name: str, options: Options) -> bool:
    """Whether the operator listed a name: itself, or with `*.` in front one that it ends with, or with `*` all."""
    name = name.lower().removesuffix(".")
    return any(
        name.endswith(each[1:]) if each.startswith("*") else name == each for each in map(str.lower, options.hosts)
    )


def known(host: str, options: Options, server: str = "") -> bool:
    """Whether a `Host` header names this server, which listens on the address `server` (empty: not told)."""
    match = _HOST.fullmatch(host)
    if match is None:
        return False
    name = match["name"].strip("[]")
    if local(name) or listed(name, options):
        return True
    literal, own = address(name), address(server)
    # What was sent to an address in numbers has come to that very address: nobody can point it elsewhere.
    return literal is not None and own is not None and (own.is_unspecified or own == literal)


def refuse_unknown(exchange: Exchange, options: Options) -> None:
    """Raise Forbidden where no key is asked for and the request is for a name that might be anybody's."""
    if options.accounts.keys.required or exchange.batch is not None:
        return
    host = exchange.header("host") or ""
    # Load balancers look after a server in HTTP/1.0, which has no Host; browsers have long left that. Granian 2.8 calls
    # it "1".
    if not host and exchange.scope.get("http_version") in ("1.0", "1"):
        return
    server = exchange.scope.get("server")
    if not known(host, options, server[0] if server else ""):
        shown = repr(host[:_LONGEST_SHOWN]) if host else "a request without a name"
        raise Forbidden(
            f"Host {shown} is not a known name of this server, which asks for no key, so it is not answered. Use "
            "localhost or the server's address, list the name with --allowed-host, or set a key with --api-key"
        )
