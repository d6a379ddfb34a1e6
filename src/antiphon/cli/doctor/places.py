"""The places a server needs: its state folder, its keys, its port."""

from __future__ import annotations

import os
import stat
import tempfile
from collections.abc import Iterator
from pathlib import Path

from antiphon.cli.doctor.finding import FAIL, FINE, NOTE, Finding
from antiphon.process import banner, supervisor
from antiphon.process.managed_keys import managed_keys
from antiphon.settings.sources import Settings

_OTHERS = stat.S_IRWXG | stat.S_IRWXO
_SHORT_KEY = 16


def state(settings: Settings) -> Iterator[Finding]:
    """Whether the state folder can be written to, and whether others can read what is secret there."""
    folder = Path(settings.state_dir)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        remedy = f"give {_who()} the right to write there, or choose another folder with --state-dir"
        yield Finding("state folder", FAIL, f"{folder}: {os.strerror(error.errno or 0).lower()}", remedy)
        return
    yield Finding("state folder", FINE, str(folder))
    seal = folder / "seal.key"
    if seal.exists():
        yield _private("key that seals thinking", seal)


def _who() -> str:
    return os.environ.get("USER", f"user {os.getuid()}")


def _private(check: str, file: Path) -> Finding:
    """Whether only its owner can read a file."""
    try:
        mode = file.stat().st_mode
    except OSError as error:
        return Finding(check, FAIL, f"{file}: {os.strerror(error.errno or 0).lower()}", "check its path and its owner")
    if not os.access(file, os.R_OK):
        return Finding(check, FAIL, f"{_who()} cannot read {file}", f"chown {_who()} {file}")
    if mode & _OTHERS:
        return Finding(check, NOTE, f"others can read {file} ({stat.filemode(mode)})", f"chmod 600 {file}")
    return Finding(check, FINE, f"{file}, for its owner only")


def keys(settings: Settings) -> Iterator[Finding]:
    """Who is let in."""
    try:
        count = len(settings.api_keys) + len(managed_keys(settings))
    except (OSError, ValueError) as error:
        yield Finding("keys", FAIL, f"those in the store cannot be read: {error}", "make sure that --store can be read")
        return
    if not count and not settings.loopback and not settings.no_auth:
        yield Finding("keys", FAIL, "none, and other machines reach the server", "antiphon keys add NAME")
    elif not count:
        detail = "none asked for; " + ("only this machine can reach the server" if settings.loopback else "--no-auth")
        remedy = "" if settings.loopback else "antiphon keys add NAME, unless everybody who can reach it may use it"
        yield Finding("keys", FINE if settings.loopback else NOTE, detail, remedy)
    elif not settings.loopback and any(len(key) < _SHORT_KEY for key in settings.api_keys):
        remedy = "take longer ones: python -c 'import secrets; print(secrets.token_urlsafe(24))'"
        yield Finding("keys", NOTE, f"{count}, some shorter than {_SHORT_KEY} characters", remedy)
    else:
        yield Finding("keys", FINE, f"{count}")


def port(settings: Settings) -> tuple[Finding, bool]:
    """Whether the port is free, and whether an Antiphon answers on it."""
    place = f"{settings.host}:{settings.port}"
    try:
        supervisor.refuse_port_in_use(settings)
    except supervisor.CannotServe as error:
        if banner.served(supervisor.ask_health(settings)):
            return Finding("port", FINE, f"a server runs at {banner.address(settings)}"), True
        remedy = "stop what uses it, or choose another with --port" if "in use" in str(error) else "check --host"
        return Finding("port", FAIL, str(error).partition(";")[0], remedy), False
    return Finding("port", FINE, f"{place} is free"), False
