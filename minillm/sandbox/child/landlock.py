"""Landlock: a Linux process gives up the file system, all but what it names; nobody can give it back.

    1. a rule set lists the rights that are taken away (open for reading, for writing, make, remove, ...)
    2. a rule gives some of them back below one folder, or for one file
    3. `restrict_self` puts the rule set on; it holds for the rest of the process's life, root or not

The kernel looks at where a path ends, so `..`, links and `/proc/self/root` lead nowhere. Kernels have had it since 5.13
(2021) in growing versions, "ABI": 4 adds TCP, 6 adds signals. Source: docs.kernel.org/userspace-api/landlock.html.
Left out by the kernel: asking for a file's size or time (`stat`) and going to a folder (`chdir`) stay allowed.
"""

from __future__ import annotations

import ctypes
import os
import struct

CREATE, ADD_RULE, RESTRICT = 444, 445, 446  # system calls, the same numbers on every processor
VERSION = 1  # flag of CREATE: tell the ABI
PATH_BENEATH = 1  # the kind of a rule
READ_FILE, READ_DIR = 1 << 2, 1 << 3
TRUNCATE_FROM, DEVICES_FROM, NET_FROM, SCOPES_FROM = 3, 5, 4, 6
WRITES = sum(
    1 << bit for bit in (1, 4, 5, 7, 8)
)  # write a file, remove a folder, a file, make a folder, a file
NOT_CHANGED = 0x200000  # O_PATH: a place, not a file that is read


def system_call(number: int, *args: object) -> int:
    """The call's result. OSError where the kernel says no."""
    library = ctypes.CDLL(None, use_errno=True)
    library.syscall.restype = ctypes.c_long
    result = library.syscall(ctypes.c_long(number), *args)
    if result < 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
    return result


def version() -> int:
    """The kernel's ABI; OSError where it has no Landlock, or it is switched off."""
    return system_call(CREATE, None, ctypes.c_size_t(0), ctypes.c_uint32(VERSION))


def handled(abi: int) -> tuple[int, int, int]:
    """(rights on files, on TCP, scopes) that an ABI can take away: all of them are taken."""
    files = (1 << 13) - 1
    files |= (1 << 13) if abi >= 2 else 0  # move between folders
    files |= (1 << 14) if abi >= TRUNCATE_FROM else 0
    files |= (1 << 15) if abi >= DEVICES_FROM else 0
    return files, 0b11 if abi >= NET_FROM else 0, 0b11 if abi >= SCOPES_FROM else 0


def confine(writable: str, readable: list[str], listed: list[str], abi: int) -> None:
    """From here on: files are read and written below `writable`, files named (or below folders) in `readable` are
    read, folders in `listed` are listed; nothing else is opened."""
    files, net, scopes = handled(abi)
    attributes = struct.pack("=QQQ", files, net, scopes)
    size = 24 if abi >= SCOPES_FROM else 16 if abi >= NET_FROM else 8
    rules = system_call(CREATE, attributes, ctypes.c_size_t(size), ctypes.c_uint32(0))
    truncate = (1 << 14) if abi >= TRUNCATE_FROM else 0
    for path, rights in [
        (writable, WRITES | READ_FILE | READ_DIR | truncate),
        *((path, READ_FILE | (READ_DIR if os.path.isdir(path) else 0)) for path in readable),
        *((path, READ_DIR) for path in listed),
    ]:
        place = os.open(path, NOT_CHANGED | os.O_CLOEXEC)
        rule = struct.pack("=Qi", rights, place)
        system_call(ADD_RULE, ctypes.c_int(rules), ctypes.c_int(PATH_BENEATH), rule, ctypes.c_uint32(0))
        os.close(place)
    system_call(RESTRICT, ctypes.c_int(rules), ctypes.c_uint32(0))
    os.close(rules)
