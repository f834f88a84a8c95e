"""seccomp: a Linux process gives up all system calls but those on a list; nobody can give them back.

The list is a program for a tiny machine in the kernel (BPF), which runs before every system call:

    load the processor's kind        not ours -> the process ends
    load the call's number           read -> allow      openat -> look at its flags      ...      none of them -> EPERM

So there is no fork, no thread, no exec, no socket, no signal to others, no ptrace, no change of owner or mode, and no
call that did not exist when this list was written. It is a list of what may be done, not of what may not.
Source: docs.kernel.org/userspace-api/seccomp_filter.html, linux/audit.h, the kernel's tables of numbers.
"""

from __future__ import annotations

import ctypes
import struct

# call: its number on (x86_64, aarch64); None where the processor's kernel has no such call
CALLS: dict[str, tuple[int | None, int | None]] = {
    "read": (0, 63), "write": (1, 64), "close": (3, 57), "stat": (4, None), "fstat": (5, 80), "lstat": (6, None),
    "poll": (7, None), "lseek": (8, 62), "mmap": (9, 222), "mprotect": (10, 226), "munmap": (11, 215),
    "brk": (12, 214), "rt_sigaction": (13, 134), "rt_sigprocmask": (14, 135), "rt_sigreturn": (15, 139),
    "pread64": (17, 67), "pwrite64": (18, 68), "readv": (19, 65), "writev": (20, 66), "access": (21, None),
    "pipe": (22, None), "select": (23, None), "sched_yield": (24, 124), "mremap": (25, 216), "madvise": (28, 233),
    "dup": (32, 23), "dup2": (33, None), "pause": (34, None), "nanosleep": (35, 101), "getitimer": (36, 102),
    "alarm": (37, None), "setitimer": (38, 103), "getpid": (39, 172), "exit": (60, 93), "uname": (63, 160),
    "ftruncate": (77, 46), "getcwd": (79, 17), "chdir": (80, 49), "fchdir": (81, 50), "rename": (82, None),
    "mkdir": (83, None), "rmdir": (84, None), "unlink": (87, None), "readlink": (89, None), "umask": (95, 166),
    "gettimeofday": (96, 169), "getrusage": (98, 165), "times": (100, 153), "getuid": (102, 174),
    "getgid": (104, 176), "geteuid": (107, 175), "getegid": (108, 177), "getppid": (110, 173),
    "sigaltstack": (131, 132), "gettid": (186, 178), "time": (201, None), "futex": (202, 98),
    "sched_getaffinity": (204, 123), "getdents64": (217, 61), "restart_syscall": (219, 128),
    "clock_gettime": (228, 113), "clock_getres": (229, 114), "clock_nanosleep": (230, 115),
    "exit_group": (231, 94), "epoll_wait": (232, None), "epoll_ctl": (233, 21), "mkdirat": (258, 34),
    "newfstatat": (262, 79), "unlinkat": (263, 35), "renameat": (264, 38), "readlinkat": (267, 78),
    "faccessat": (269, 48), "pselect6": (270, 72), "ppoll": (271, 73), "epoll_pwait": (281, 22),
    "epoll_create1": (291, 20), "dup3": (292, 24), "pipe2": (293, 59), "renameat2": (316, 276),
    "getrandom": (318, 278), "statx": (332, 291), "rseq": (334, 293), "close_range": (436, 436),
    "faccessat2": (439, 439),
}  # fmt: skip
# call: its number, the argument that is looked at, the values that it may have. What a file may be asked: its flags, a
# copy, a lock, whether it is a terminal. Not: F_SETOWN (8), which sends signals to any process of the same user.
CHOSEN: dict[str, tuple[tuple[int, int], int, tuple[int, ...]]] = {
    "fcntl": ((72, 25), 1, (0, 1, 2, 3, 4, 5, 6, 7, 1030)),
    "ioctl": ((16, 29), 1, (0x5401, 0x5413, 0x5421, 0x541B, 0x5450, 0x5451)),
}
# open for reading and cut to nothing at once: kernels before 6.2 would let a file be cut that may only be read
OPENS: dict[str, tuple[tuple[int | None, int | None], int]] = {
    "open": ((2, None), 1),
    "openat": ((257, 56), 2),
}
CUT, WAY = 0o1000, 0o3  # O_TRUNC, and the bits that say reading, writing or both

PROCESSORS = {"x86_64": (0, 0xC000003E), "aarch64": (1, 0xC00000B7)}
ALLOW, DENY, END = 0x7FFF0000, 0x00050000 | 1, 0x80000000  # deny: the call gives EPERM; end: the process
LOAD, EQUAL, AT_LEAST, RETURN, AND = 0x20, 0x15, 0x35, 0x06, 0x54
NUMBER, PROCESSOR, ARGUMENTS = 0, 4, 16  # where they lie
X32 = 0x40000000  # numbers from here on: x86_64's second table of calls
Instruction = tuple[int, int, int, int]  # what, how far to jump if so, if not, operand


def program(machine: str) -> list[Instruction]:
    """The filter for a processor. Every path through it ends in a RETURN."""
    column, kind = PROCESSORS[machine]
    lines = [(LOAD, 0, 0, PROCESSOR), (EQUAL, 1, 0, kind), (RETURN, 0, 0, END), (LOAD, 0, 0, NUMBER)]
    lines += [(AT_LEAST, 0, 1, X32), (RETURN, 0, 0, DENY)]
    for name in CALLS:
        lines += _if(CALLS[name][column], [(RETURN, 0, 0, ALLOW)])
    for numbers, place, values in CHOSEN.values():
        allowed = [line for value in values for line in _if(value, [(RETURN, 0, 0, ALLOW)])]
        lines += _if(numbers[column], [_argument(place), *allowed, (RETURN, 0, 0, DENY)])
    for opened, place in OPENS.values():
        cut = _if(CUT, [(RETURN, 0, 0, DENY)])
        lines += _if(opened[column], [_argument(place), (AND, 0, 0, CUT | WAY), *cut, (RETURN, 0, 0, ALLOW)])
    return [*lines, (RETURN, 0, 0, DENY)]


def _if(value: int | None, then: list[Instruction]) -> list[Instruction]:
    """`then`, where what was loaded is `value`."""
    return [] if value is None else [(EQUAL, 0, len(then), value), *then]


def _argument(place: int) -> Instruction:
    """Load the lower half of an argument: these are ints, and the kernel reads no more of them."""
    return (LOAD, 0, 0, ARGUMENTS + 8 * place)


def confine(machine: str) -> None:
    """From here on this process may make only the calls above. OSError where the kernel says no."""
    lines = program(machine)
    code = b"".join(struct.pack("=HBBI", *line) for line in lines)
    buffer = ctypes.create_string_buffer(code, len(code))
    described = struct.pack("@HP", len(lines), ctypes.addressof(buffer))  # struct sock_fprog
    control(22, 2, ctypes.c_char_p(described))  # PR_SET_SECCOMP, SECCOMP_MODE_FILTER


def control(what: int, *args: object) -> None:
    """prctl. OSError where the kernel says no."""
    library = ctypes.CDLL(None, use_errno=True)
    given = [ctypes.c_ulong(one) if isinstance(one, int) else one for one in (*args, 0, 0, 0, 0)][:4]
    if library.prctl(ctypes.c_int(what), *given) != 0:
        raise OSError(ctypes.get_errno(), f"prctl {what} is refused")
