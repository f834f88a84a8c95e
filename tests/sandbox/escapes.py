"""What model-written code tries to get out: the body of a function, and what it must meet (an exception, or a value).

All of them run one after the other in one process of `run_python`. CANARY stands for a file of ours that must stay as
it is, PARENT for our process number, PACKAGE for a file of an installed package. `call(number, ...)` is a raw system
call by its number on this processor, past Python; it gives (result, errno).
"""

DENIED = "PermissionError"
LOCKED = ("ModuleNotFoundError", "ImportError", DENIED)
NO = (-1, 1)  # EPERM

FILES = {
    "read another file": ("return open('/etc/passwd').read()", DENIED),
    "read our file": ("return open(CANARY).read()", DENIED),
    "write our file": ("open(CANARY, 'a').write('x')", DENIED),
    "write beside our file": ("open(CANARY + '2', 'w').write('x')", DENIED),
    "cut our file while reading it": ("os.open(CANARY, os.O_RDONLY | os.O_TRUNC)", DENIED),
    "cut our file": ("os.truncate(CANARY, 0)", DENIED),
    "remove our file": ("os.unlink(CANARY)", DENIED),
    "move our file here": ("os.rename(CANARY, 'mine')", ("PermissionError", "OSError")),
    "move a file over ours": ("open('a', 'w').close(); os.rename('a', CANARY)", ("PermissionError", "OSError")),
    "link to our file": ("os.link(CANARY, 'mine')", DENIED),
    "a link that leads out": ("os.symlink('/etc/passwd', 'link')", DENIED),
    "change its mode": ("os.chmod(CANARY, 0o777)", DENIED),
    "change its owner": ("os.chown(CANARY, 1, 1)", DENIED),
    "change its time": ("os.utime(CANARY, (1, 1))", DENIED),
    "give it an attribute": ("os.setxattr(CANARY, 'user.x', b'1')", DENIED),
    "list the root": ("return os.listdir('/')", DENIED),
    "list our folder": ("return os.listdir(os.path.dirname(CANARY))", DENIED),
    "up and over": ("return open('../../../../../etc/passwd').read()", DENIED),
    "from another folder": ("os.chdir('/')\ntry: open('etc/passwd')\nfinally: os.chdir(HERE)", DENIED),
    "by a folder's number": ("os.open('etc/passwd', os.O_RDONLY, dir_fd=os.open('/', os.O_PATH))", DENIED),
    "memory of this process": ("open('/proc/self/mem', 'r+b')", DENIED),
    "memory of our process": ("open(f'/proc/{PARENT}/mem', 'r+b')", DENIED),
    "our environment": ("return open(f'/proc/{PARENT}/environ').read()", DENIED),
    "our command line": ("return open(f'/proc/{PARENT}/cmdline').read()", DENIED),
    "our open files": ("return os.listdir(f'/proc/{PARENT}/fd')", DENIED),
    "the folder where we work": ("return os.readlink(f'/proc/{PARENT}/cwd')", DENIED),
    "the root of /proc": ("return open('/proc/self/root/etc/passwd').read()", DENIED),
    "a new folder outside": ("os.mkdir('/tmp/minillm-escape')", DENIED),
    "shared memory": ("open('/dev/shm/minillm-escape', 'w')", DENIED),
    "the terminal": ("open('/dev/tty', 'w')", DENIED),
    "the kernel's messages": ("open('/dev/kmsg').read(1)", ("FileNotFoundError", DENIED)),
    "an installed package": ("return open(PACKAGE).read()", DENIED),
    "the code that holds it": ("import sys; return open(sys.modules['__main__'].__file__).read()", DENIED),
    "our open files by their numbers": (
        "def one(n):\n    try: return os.open(f'/proc/{PARENT}/fd/{n}', os.O_RDONLY | os.O_NONBLOCK)\n"
        "    except OSError: pass\nreturn [n for n in range(64) if one(n)]", []),
    "its own environment as a file": ("return open('/proc/self/environ').read()", DENIED),
    "its parent's folder": ("return os.listdir(f'/proc/{PARENT}/root')", DENIED),
    "a link of a link": ("os.link(CANARY, 'a', follow_symlinks=False)", DENIED),
    "a link by a folder's number": ("os.link('passwd', 'mine', src_dir_fd=os.open('/etc', os.O_PATH))", DENIED),
    "a file without a name that gets one": (
        "n = os.open('.', os.O_TMPFILE | os.O_RDWR)\nos.link(f'/proc/self/fd/{n}', 'named')", DENIED),
    "a pipe with a name": ("os.mkfifo('fifo')", DENIED),
    "a device": ("os.mknod('device', 0o020666, os.makedev(1, 3))", DENIED),
    "another root": ("os.chroot('.')", DENIED),
    "a file by its handle": ("return call('open_by_handle_at', 3, 0, 0)", NO),
    "openat2": ("return call('openat2', -100, 0, 0, 0)", NO),
    "mount": ("return call('mount', 0, 0, 0, 0, 0)", NO),
}  # fmt: skip

PROCESSES = {
    "fork": ("os.fork()", DENIED),
    "a fork bomb": ("while True: os.fork()", DENIED),
    "a shell": ("os.system('id')\nreturn os.path.exists('x')", False),
    "a program": ("import subprocess; subprocess.run(['/bin/sh', '-c', 'id'])", DENIED),
    "become a program": ("os.execv('/bin/sh', ['sh'])", DENIED),
    "posix_spawn": ("os.posix_spawn('/bin/true', ['true'], {})", DENIED),
    "a thread": ("import threading; threading.Thread(target=print).start()", "RuntimeError"),
    "clone past Python": ("return call('clone', 0x11, 0, 0, 0, 0)", NO),
    "clone3 past Python": ("return call('clone3', 0, 0)", NO),
    "end our process": ("os.kill(PARENT, 15)", DENIED),
    "end every process": ("os.kill(-1, 9)", DENIED),
    "a signal by a file": ("import fcntl; r, w = os.pipe(); fcntl.fcntl(r, fcntl.F_SETOWN, PARENT)", DENIED),
    "another signal by a file": ("import fcntl; fcntl.fcntl(os.pipe()[0], 10, 9)", DENIED),
    "a signal by a terminal": ("import fcntl; fcntl.ioctl(os.pipe()[0], 0x8901, b'1234')", DENIED),
    "a signal by a handle": ("return call('pidfd_open', PARENT, 0)", NO),
    "a queued signal": ("return call('rt_sigqueueinfo', PARENT, 15, 0)", NO),
    "ptrace": ("return call('ptrace', 16, PARENT, 0, 0)", NO),
    "write into our memory": ("return call('process_vm_writev', PARENT, 0, 0, 0, 0, 0)", NO),
    "another user": ("os.setuid(0)", DENIED),
    "another group": ("os.setgroups([])", DENIED),
    "higher limits": ("import resource; resource.setrlimit(resource.RLIMIT_CPU, (99, 99))", ("ValueError", DENIED)),
    "our limits": ("import resource; resource.prlimit(PARENT, resource.RLIMIT_NOFILE, (3, 3))", (DENIED, "ValueError")),
    "outlive us": ("return call('prctl', 1, 0, 0, 0, 0)", NO),
    "leave the process group": ("os.setpgid(0, 0)", DENIED),
    "a session of its own": ("os.setsid()", DENIED),
    "more of the processor": ("os.nice(-5)", DENIED),
    "other processors": ("os.sched_setaffinity(0, {0})", DENIED),
    "its own namespace": ("return call('unshare', 0x10000000)", NO),
    "another namespace": ("return call('setns', 0, 0)", NO),
    "capabilities": ("return call('capset', 0, 0)", NO),
    "no more filters": ("return call('seccomp', 1, 0, 0)", NO),
}  # fmt: skip

KERNEL = {
    "a socket": ("import socket; socket.socket()", DENIED),
    "a socket to neighbours": ("import socket; socket.socket(socket.AF_UNIX)", DENIED),
    "a pair of sockets": ("import socket; socket.socketpair()", DENIED),
    "a socket of every other kind": (
        "import socket\ndef one(f, k):\n    try: return socket.socket(f, k)\n    except PermissionError: pass\n"
        "return [(f, k) for f in range(46) for k in (1, 2, 3, 5) if one(f, k)]", []),
    "io on a page of ours": ("return call('process_vm_readv', PARENT, 0, 0, 0, 0, 0)", NO),
    "queues of messages": ("return call('mq_open', 0, 0o100, 0o600, 0)", NO),
    "copies between files, past reading": ("return call('sendfile', 1, 0, 0, 1)", NO),
    "a debugger's eye on us": ("return call('kcmp', PARENT, PARENT, 0, 0, 0)", NO),
    "our memory's size": ("return call('process_madvise', 0, 0, 0, 0, 0)", NO),
    "a name server": ("import socket; socket.getaddrinfo('example.org', 80)", ("gaierror", DENIED)),
    "a web page": ("import urllib.request; urllib.request.urlopen('http://127.0.0.1:1')", ("URLError", DENIED)),
    "io_uring": ("return call('io_uring_setup', 1, 0)", NO),
    "memory without a name": ("os.memfd_create('x')", DENIED),
    "what happens to files": ("return call('inotify_init1', 0)", NO),
    "what processes do": ("import socket; socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, 11)", DENIED),
    "a name without a file": ("import socket; socket.socket(socket.AF_UNIX).bind('\\0x')", DENIED),
    "memory that stays": ("return call('shmget', 0, 4096, 0o1600)", NO),
    "keys of the kernel": ("return call('keyctl', 0, -3, 0)", NO),
    "programs in the kernel": ("return call('bpf', 0, 0, 0)", NO),
    "counters": ("return call('perf_event_open', 0, 0, -1, -1, 0)", NO),
    "page faults": ("return call('userfaultfd', 0)", NO),
    "another personality": ("return call('personality', 0x0040000)", NO),
    "the clock": ("import time; time.clock_settime(time.CLOCK_REALTIME, 0)", DENIED),
    "typing for us": ("import fcntl; fcntl.ioctl(0, 0x5412, b'x')", DENIED),
    "the name of the machine": ("import socket; socket.sethostname('x')", DENIED),
}  # fmt: skip

LEAKS = {
    "environment": ("return sorted(set(os.environ) - {'LC_CTYPE'})", []),
    "secrets of our environment": ("return os.environ.get('MINILLM_SECRET')", None),
    "arguments": ("import sys; return sys.argv", ["<program>"]),
    "our modules": ("import sys; return [n for n in sys.modules if n[:7] in ('minillm', 'numpy', 'torch')]", []),
    "the library": ("import minillm", "ModuleNotFoundError"),
    "installed packages": ("import numpy", "ModuleNotFoundError"),
    "an installed package by its path": ("import sys; sys.path.append(SITE); import numpy", LOCKED),
    "open files": ("import stat; return sum(stat.S_ISREG(os.fstat(n).st_mode) for n in range(64) if opened(n))", 0),
    "how many are open": ("return sum(opened(n) for n in range(64))", 4),
    "our answer to input": ("input()", "EOFError"),
    "standard input": ("import sys; return sys.stdin.read()", ""),
    "10 GB of text": ("return len('a' * 10 ** 10)", "MemoryError"),
    "10 GB of bytes": ("return len(bytearray(10 ** 10))", "MemoryError"),
    "10 GB of mapped memory": ("import mmap; mmap.mmap(-1, 10 ** 10)", ("MemoryError", "OSError")),
    "a large file": ("f = open('large', 'wb')\nwhile True: f.write(b'x' * 2 ** 20)", "OSError"),
    "memory that is mapped to a file": (
        "import mmap\nf = open('map', 'wb+')\nf.truncate(4 * 2 ** 20)\n"
        "kept = [mmap.mmap(f.fileno(), 0) for n in range(10 ** 4)]", ("OSError", "MemoryError")),
    "shared memory without end": ("import mmap\nkept = [mmap.mmap(-1, 2 ** 26) for n in range(99)]", "OSError"),
    "a write far behind the end": ("os.pwrite(os.open('far', os.O_RDWR | os.O_CREAT), b'x', 10 ** 10)", "OSError"),
    "a large file with a hole": ("os.truncate(os.open('hole', os.O_RDWR | os.O_CREAT), 10 ** 10)", "OSError"),
    "many open files": ("kept = [open(f'f{n}', 'w') for n in range(100)]", "OSError"),
    "endless recursion": ("f = lambda: f()\nf()", "RecursionError"),
}  # fmt: skip

ATTEMPTS = {**LEAKS, **FILES, **PROCESSES, **KERNEL}  # leaks first: the others open files of their own

NUMBERS = {  # system calls: (x86_64, aarch64)
    "open_by_handle_at": (304, 265), "openat2": (437, 437), "mount": (165, 40), "clone": (56, 220),
    "clone3": (435, 435), "pidfd_open": (434, 434), "rt_sigqueueinfo": (129, 138), "ptrace": (101, 117),
    "process_vm_writev": (311, 271), "prctl": (157, 167), "unshare": (272, 97), "setns": (308, 268),
    "capset": (126, 91), "seccomp": (317, 277), "io_uring_setup": (425, 425), "shmget": (29, 194),
    "keyctl": (250, 219), "bpf": (321, 280), "perf_event_open": (298, 241), "userfaultfd": (323, 282),
    "personality": (135, 92), "inotify_init1": (294, 26), "process_vm_readv": (310, 270), "mq_open": (240, 180),
    "sendfile": (40, 71), "kcmp": (312, 272), "process_madvise": (440, 440),
}  # fmt: skip

HEAD = """
import ctypes, os

def call(name, *args):
    ctypes.set_errno(0)
    library = ctypes.CDLL(None, use_errno=True)
    number = NUMBERS[name][os.uname().machine == "aarch64"]
    return library.syscall(number, *map(ctypes.c_long, args)), ctypes.get_errno()

def opened(number):
    try:
        os.fstat(number)
    except OSError:
        return False
    return True

def attempt(work):
    try:
        return ["gave", work()]
    except BaseException as error:
        return ["raised", type(error).__name__]

found, HERE = {}, os.getcwd()
"""


def program(names: dict[str, object]) -> str:
    """One program that tries them all; its value: {name: ["gave", value] or ["raised", exception]}."""
    lines = [HEAD, f"NUMBERS = {NUMBERS!r}", *(f"{name} = {value!r}" for name, value in names.items())]
    for name, (body, _) in ATTEMPTS.items():
        lines += [
            "def work():",
            *(f"    {line}" for line in body.split("\n")),
            f"found[{name!r}] = attempt(work)",
        ]
    return "\n".join([*lines, "found"])
