"""System calls that nothing in a sandbox may make: a filter for the kernel, as bubblewrap takes it.

Namespaces and limits do the rest. These calls would go around them: memory that belongs to no process and counts
nowhere, further namespaces and mounts, sockets of families that a network namespace does not hold, and large parts of
the kernel that plain programs do without. Numbers are those of the kernel's own tables
(arch/x86/entry/syscalls/syscall_64.tbl, include/uapi/asm-generic/unistd.h).
"""

from __future__ import annotations

import platform
import struct

# Each with its number on x86-64 and on 64-bit Arm.
_DENIED = {
    "memfd_create": (319, 279),
    "memfd_secret": (447, 447),
    "shmget": (29, 194),
    "mq_open": (240, 180),
    "io_uring_setup": (425, 425),
    "userfaultfd": (323, 282),
    "bpf": (321, 280),
    "perf_event_open": (298, 241),
    "add_key": (248, 217),
    "request_key": (249, 218),
    "keyctl": (250, 219),
    "ptrace": (101, 117),
    "process_vm_readv": (310, 270),
    "process_vm_writev": (311, 271),
    "unshare": (272, 97),
    "setns": (308, 268),
    "mount": (165, 40),
    "umount2": (166, 39),
    "fsopen": (430, 430),
    "move_mount": (429, 429),
    "pivot_root": (155, 41),
    "open_by_handle_at": (304, 265),
}
_SOCKET = (41, 198)
_FAMILIES = (1, 2, 10)
"""Unix, IPv4 and IPv6: all that a network namespace of its own holds."""
_MACHINES = {"x86_64": (0, 0xC000003E), "aarch64": (1, 0xC00000B7)}
"""Which column, and what the kernel calls the architecture (include/uapi/linux/audit.h)."""
_X32 = 0x40000000
"""On x86-64, the bit of the calls of a second, nearly forgotten table."""

_LOAD, _JUMP_EQUAL, _JUMP_LEAST, _RETURN = 0x20, 0x15, 0x35, 0x06
_NUMBER, _ARCHITECTURE, _FIRST_ARGUMENT = 0, 4, 16
_ALLOW, _KILL, _EPERM = 0x7FFF0000, 0x80000000, 0x00050001

Instruction = tuple[int, int, int, int]


def program() -> bytes:
    """The filter for this machine. Raises ValueError where there is none for it."""
    try:
        column, architecture = _MACHINES[platform.machine()]
    except KeyError:
        raise ValueError(f"code cannot be confined on a machine of the type {platform.machine()}") from None
    denied = [numbers[column] for numbers in _DENIED.values()]
    families: list[Instruction] = [
        (_LOAD, 0, 0, _FIRST_ARGUMENT),
        *((_JUMP_EQUAL, len(_FAMILIES) - place, 0, family) for place, family in enumerate(_FAMILIES)),
        (_RETURN, 0, 0, _EPERM),
        (_RETURN, 0, 0, _ALLOW),
    ]
    instructions: list[Instruction] = [
        (_LOAD, 0, 0, _ARCHITECTURE),
        (_JUMP_EQUAL, 1, 0, architecture),
        (_RETURN, 0, 0, _KILL),
        (_LOAD, 0, 0, _NUMBER),
        (_JUMP_LEAST, 0, 1, _X32),
        (_RETURN, 0, 0, _EPERM),
        (_JUMP_EQUAL, 0, len(families), _SOCKET[column]),
        *families,
        # Those that follow, and the return that allows, stand between a denied call and the return that denies.
        *((_JUMP_EQUAL, len(denied) - place, 0, number) for place, number in enumerate(denied)),
        (_RETURN, 0, 0, _ALLOW),
        (_RETURN, 0, 0, _EPERM),
    ]
    return b"".join(struct.pack("=HBBI", *each) for each in instructions)
