"""JupyterLab on a notebook or a folder: start it, say what address to open, and end with it.

JupyterLab is run as the program it is. Its access token stays in force: the address that is printed carries it.
"""

from __future__ import annotations

import importlib.util
import json
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from urllib.parse import quote

from minillm._checks import check_int

LONGEST_START = 120.0  # seconds until it answers; after that we wait on and say nothing


def need_jupyterlab() -> None:
    """ImportError with the command that installs JupyterLab, when it is missing."""
    if importlib.util.find_spec("jupyterlab") is None:
        raise ImportError("JupyterLab is not installed: pip install -e '.[lab]', or `make study`")


def lab_command(
    folder: Path,
    ip: str | None = None,
    port: int | None = None,
    allow_root: bool = False,
    browser: bool = True,
) -> list[str]:
    """The command line that serves `folder`. Jupyter refuses to run as root unless it is told that this is meant;
    in a container root is who we are, so then it is told. Raises ValueError for a port outside 1 .. 65535."""
    command = [sys.executable, "-m", "jupyterlab", f"--ServerApp.root_dir={folder}"]
    command += [
        "--ServerApp.answer_yes=True",
        "--ServerApp.log_level=ERROR",
    ]  # Ctrl-C ends it without a question
    if ip is not None:
        command.append(f"--ServerApp.ip={ip}")
    if port is not None:
        command += [f"--ServerApp.port={check_int('port', port, 1, 65535)}", "--ServerApp.port_retries=0"]
    if allow_root or (hasattr(os, "geteuid") and os.geteuid() == 0):
        command.append("--allow-root")
    return command if browser else [*command, "--no-browser"]


def run_lab(command: list[str], path: Path, root: Path) -> int:
    """Run `command` until it ends, or Ctrl-C: its exit status, 0 after Ctrl-C. Prints the address of `path`."""
    where = path.relative_to(root).as_posix()
    command = [*command, f"--LabApp.default_url=/lab/tree/{quote(where)}"]
    lab = subprocess.Popen(command, stdin=subprocess.DEVNULL)
    before = signal.getsignal(signal.SIGTERM)
    stopped = False

    def stop(*_: object) -> None:
        raise KeyboardInterrupt

    signal.signal(signal.SIGTERM, stop)  # `docker stop`; without this the server would outlive us
    try:
        _announce(lab, where)
        return lab.wait()
    except KeyboardInterrupt:
        stopped = True
        return 0
    finally:
        _end(lab)
        signal.signal(signal.SIGTERM, before)
        if stopped:
            print("\nJupyterLab has ended. What you wrote is in", path if path.is_dir() else path.parent)


def _announce(lab: subprocess.Popen, where: str) -> None:
    """Wait until the server answers, and print its address."""
    from jupyter_core.paths import jupyter_runtime_dir

    note = Path(jupyter_runtime_dir()) / f"jpserver-{lab.pid}.json"
    deadline = time.monotonic() + LONGEST_START
    while lab.poll() is None and time.monotonic() < deadline:
        try:
            server = json.loads(note.read_text(encoding="utf-8"))
            # the note comes before the server listens, and one of a killed server may have the same number
            if not server.get("sock"):
                socket.create_connection((_host(server, "localhost"), server["port"]), timeout=1).close()
            break
        except (OSError, ValueError):
            time.sleep(0.1)
    else:
        return
    for address in _addresses(server, where):
        print(f"open {address}", flush=True)
    print("Ctrl-C ends it.", flush=True)


def _host(server: dict, everywhere: str) -> str:
    """Where the server listens; `everywhere` where it listens on every address of this machine."""
    listens = str(server.get("hostname", "localhost"))
    return everywhere if listens in ("0.0.0.0", "::", "*", "") else listens


def _addresses(server: dict, where: str) -> list[str]:
    """What to type into a browser: here, and from another machine when the server listens to others."""
    token = f"?token={server['token']}" if server.get("token") else ""
    rest = f":{server['port']}{server.get('base_url', '/')}lab/tree/{quote(where)}{token}"
    scheme = "https" if server.get("secure") else "http"
    listens = _host(server, "")
    if not listens:
        return [
            f"{scheme}://localhost{rest}",
            f"{scheme}://{socket.gethostname()}{rest}  (from another machine)",
        ]
    return [f"{scheme}://{f'[{listens}]' if ':' in listens else listens}{rest}"]


def _end(lab: subprocess.Popen) -> None:
    """Let the server end its kernels; where it does not, end it."""
    for stop, seconds in ((lab.terminate, 15), (lab.kill, 15)):
        if lab.poll() is None:
            stop()
            try:
                lab.wait(seconds)
            except subprocess.TimeoutExpired:
                continue
            except KeyboardInterrupt:  # a second Ctrl-C
                continue
