"""Which web pages may talk to the server from inside a browser (CORS).

Where keys are asked for, the key is the guard and any origin may try. Where none is, a page somewhere on the
web must not be able to use the model of whoever visits it, so only pages from this machine, from programs installed on
it, from listed names and the server's own are let in. Programs that are not browsers send no `origin` and are not
concerned.
"""

from __future__ import annotations

from urllib.parse import urlsplit

from antiphon.api.errors import Forbidden
from antiphon.surfaces.http import hosts
from antiphon.surfaces.http.exchange import Exchange
from antiphon.surfaces.surface import Options

_DESKTOP = {"app", "capacitor", "ionic", "tauri", "vscode-file", "vscode-webview"}
"""The schemes of pages that installed programs bring along. A browser gives none of them to a page of the web."""
_ALLOWED = (
    "authorization, content-type, x-api-key, anthropic-version, anthropic-beta, "
    "anthropic-dangerous-direct-browser-access"
)


def allowed(origin: str, host: str, options: Options) -> bool:
    """Whether a page of this origin may use a server that was asked for as `host`, a name known to be its own."""
    if options.accounts.keys.required:
        return True
    try:
        parts = urlsplit(origin)
        name, authority = parts.hostname or "", parts.netloc
    except ValueError:
        return False
    if parts.scheme in _DESKTOP:
        return True
    return (name != "" and authority == host) or hosts.local(name) or hosts.listed(name, options)


async def answered(exchange: Exchange, options: Options) -> bool:
    """Add the headers a browser looks for. True when the request was a preflight and has been answered."""
    origin = exchange.header("origin")
    if origin is None:
        return False
    if not allowed(origin, exchange.header("host") or "", options):
        raise Forbidden(
            f"Origin {origin} may not use this server, which asks for no key. Use a page of this machine, list the "
            "page's host with --allowed-host, or set a key with --api-key"
        )
    exchange.extra += [
        (b"access-control-allow-origin", origin.encode("latin-1")),
        # What SDKs read besides the body: ids, limits, when to come back. No page is let in with a cookie.
        (b"access-control-expose-headers", b"*"),
        (b"vary", b"origin"),
    ]
    if exchange.method != "OPTIONS" or exchange.header("access-control-request-method") is None:
        return False
    requested = exchange.header("access-control-request-headers") or _ALLOWED
    headers = [
        (b"access-control-allow-methods", b"GET, HEAD, POST, DELETE, OPTIONS"),
        (b"access-control-allow-headers", requested.encode("latin-1")),
        (b"access-control-max-age", b"600"),
    ]
    if exchange.header("access-control-request-private-network") == "true":
        headers.append((b"access-control-allow-private-network", b"true"))
    await exchange.reply(204, headers=headers)
    return True
