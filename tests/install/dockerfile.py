"""Carries out a Dockerfile where there is no container runtime: each stage is a Debian root made by mmdebstrap, and
each step runs in it under bubblewrap. It knows the instructions that our Dockerfile uses, and refuses every other.

Needs root, and the Debian packages mmdebstrap and bubblewrap.
"""

from __future__ import annotations

import json
import os
import shlex
import shutil
import string
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


@dataclass
class Image:
    """What a stage has become: its root, and how it is run. `user` is `uid:gid`. `lent` are files of the machine
    that are seen in it, by their path there, but are no part of it, as a build lends its secrets."""

    root: Path
    lent: Mapping[str, str] = field(default_factory=dict)
    environment: dict[str, str] = field(default_factory=lambda: {"PATH": _PATH})
    user: str = "0:0"
    folder: str = "/"
    volume: str = ""
    health: tuple[str, ...] = ()
    entry: tuple[str, ...] = ()
    arguments: tuple[str, ...] = ()

    def command(self, volume: Path, arguments: Sequence[str] = ()) -> list[str]:
        """The command that runs the image as a container would: process 1, its own user, no capabilities, a root that
        cannot be written, and `volume` in its place. The network is the machine's."""
        uid, _, gid = self.user.partition(":")
        dropped = ("--no-new-privs", "--bounding-set=-all", "--inh-caps=-all", "--clear-groups")
        return [
            *("bwrap", "--ro-bind", str(self.root), "/", "--bind", str(volume), self.volume, "--tmpfs", "/tmp"),
            *("--chmod", "1777", "/tmp", "--proc", "/proc", "--dev", "/dev", "--unshare-pid", "--as-pid-1"),
            *("--cap-add", "ALL", "--die-with-parent", "--chdir", self.folder),
            *(*_lent(self), *_variables(self.environment)),
            *("setpriv", f"--reuid={uid}", f"--regid={gid}", *dropped, "--"),
            *self.entry,
            *(arguments or self.arguments),
        ]


def steps(dockerfile: str) -> list[tuple[str, str]]:
    """The instructions and their arguments, without comments, continued lines joined."""
    lines = [line for line in dockerfile.splitlines() if not line.lstrip().startswith("#")]
    whole = "\n".join(lines).replace("\\\n", " ")
    return [(word.upper(), rest.strip()) for line in whole.splitlines() if line for word, rest in [line.split(None, 1)]]


def build(
    dockerfile: str, context: Path, folder: Path, arguments: Mapping[str, str], lent: Mapping[str, str], log: Path
) -> Image:
    """The image of the last stage. Steps find the variables `arguments` and the files `lent` beside what the image has:
    how a package index is reached, say. What they print goes to `log`. Raises CalledProcessError for a step that fails,
    and ValueError for one that is not known."""
    stages: dict[str, Image] = {}
    image = Image(folder)
    for instruction, rest in steps(dockerfile):
        print(f"  {instruction} {' '.join(rest.split())[:100]}", flush=True)
        match instruction:
            case "FROM":
                base, _, name = rest.partition(" AS ")
                image = Image(folder / (name or "image"), lent)
                shutil.rmtree(image.root, ignore_errors=True)
                subprocess.run(["cp", "--archive", _debian(base, folder), image.root], check=True)
                stages[name] = image
            case "RUN":
                _run(image, ["/bin/sh", "-c", rest], arguments, log)
            case "COPY":
                _copy(image, shlex.split(rest), context, stages)
            case "WORKDIR":
                image.folder = rest
                (image.root / rest.lstrip("/")).mkdir(parents=True, exist_ok=True)
            case "ENV":
                pairs = [pair.partition("=") for pair in shlex.split(rest)]
                known = dict(image.environment)
                image.environment |= {name: string.Template(value).substitute(known) for name, _, value in pairs}
            case "USER":
                image.user = rest
            case "VOLUME":
                image.volume = rest
            case "HEALTHCHECK":
                image.health = tuple(json.loads(rest.partition("CMD")[2]))
            case "ENTRYPOINT":
                image.entry = tuple(json.loads(rest))
            case "CMD":
                image.arguments = tuple(json.loads(rest))
            case "EXPOSE":
                pass
            case _:
                raise ValueError(f"{instruction} is not known here")
    return image


def _debian(base: str, folder: Path) -> Path:
    """The root that stands for an image `debian:SUITE-slim`, made once."""
    name, _, suite = base.removesuffix("-slim").partition(":")
    if name != "debian":
        raise ValueError(f"{base} is not an image of Debian")
    root = folder / suite
    if not root.is_dir():
        part = folder / f"{suite}.part"
        shutil.rmtree(part, ignore_errors=True)
        subprocess.run(["mmdebstrap", "--quiet", "--variant=minbase", "--format=directory", suite, part], check=True)
        part.rename(root)
    return root


def _variables(environment: Mapping[str, str]) -> list[str]:
    return ["--clearenv", *(word for pair in environment.items() for word in ("--setenv", *pair))]


def _lent(image: Image) -> list[str]:
    return [word for path, file in image.lent.items() for word in ("--ro-bind", os.path.realpath(file), path)]


def _run(image: Image, command: Sequence[str], arguments: Mapping[str, str], log: Path) -> None:
    step = [
        *("bwrap", "--bind", str(image.root), "/", "--proc", "/proc", "--dev", "/dev", "--tmpfs", "/tmp"),
        *("--chmod", "1777", "/tmp", "--cap-add", "ALL", "--unshare-pid", "--chdir", image.folder, *_lent(image)),
        *_variables({**arguments, **image.environment}),
        *command,
    ]
    with log.open("ab") as out:
        subprocess.run(step, check=True, stdout=out, stderr=out)


def _copy(image: Image, words: list[str], context: Path, stages: Mapping[str, Image]) -> None:
    source = context
    if words[0].startswith("--from="):
        source = stages[words.pop(0).removeprefix("--from=")].root
    *names, target = words
    into = image.root / os.path.join(image.folder, target).lstrip("/")
    for name in names:
        path = source / name.lstrip("/")
        # As COPY has it: of a folder, what is in it; of a file, itself.
        if path.is_dir():
            shutil.copytree(path, into, symlinks=True, dirs_exist_ok=True)
        else:
            shutil.copy2(path, into)
