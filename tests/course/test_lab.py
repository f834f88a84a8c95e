"""`minillm study`: the command line of JupyterLab, and (long) a real server: started, fetched from, stopped."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import urllib.request

import pytest

from minillm.cli import main
from minillm.course.classroom import lab
from minillm.course.classroom.lab import lab_command, need_jupyterlab
from minillm.course.paths import checkout
from tests.course.lessons import LESSONS


def test_root_and_remote_hosts_are_passed_on(tmp_path, monkeypatch):
    monkeypatch.setattr(os, "geteuid", lambda: 1000, raising=False)
    command = lab_command(tmp_path)
    assert command[:3] == [sys.executable, "-m", "jupyterlab"]
    assert not [part for part in command if "root" in part and "root_dir" not in part]
    assert not [part for part in command if ".ip" in part or ".port" in part or "token" in part]
    command = lab_command(tmp_path, ip="0.0.0.0", port=9000, allow_root=True, browser=False)
    assert {"--ServerApp.ip=0.0.0.0", "--ServerApp.port=9000", "--allow-root", "--no-browser"} <= set(command)
    monkeypatch.setattr(os, "geteuid", lambda: 0, raising=False)
    assert "--allow-root" in lab_command(tmp_path)


@pytest.mark.parametrize("port", [0, 65536, "8888", True])
def test_bad_ports_are_refused(tmp_path, port):
    with pytest.raises(ValueError, match="port"):
        lab_command(tmp_path, port=port)


def test_without_jupyterlab_one_line_says_how_to_get_it(monkeypatch):
    monkeypatch.setattr(lab.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(ImportError, match=r"pip install -e '\.\[lab\]'"):
        need_jupyterlab()


def test_the_address_names_this_machine_and_the_others_way_in():
    server = {"port": 8888, "token": "secret", "hostname": "localhost", "base_url": "/", "secure": False}
    where = "study/02_1 가.ipynb"
    [one] = lab._addresses(server, where)
    assert one == "http://localhost:8888/lab/tree/study/02_1%20%EA%B0%80.ipynb?token=secret"
    here, there = lab._addresses(server | {"hostname": "0.0.0.0"}, "study")
    assert here == "http://localhost:8888/lab/tree/study?token=secret"
    assert there.endswith(":8888/lab/tree/study?token=secret  (from another machine)")


def test_the_address_is_said_when_the_server_answers(tmp_path, monkeypatch, capsys):
    """JupyterLab writes its note before it listens; a killed server's note may carry the same process number."""
    monkeypatch.setenv("JUPYTER_RUNTIME_DIR", str(tmp_path))
    server = (
        "import json, os, pathlib, socket, sys, time\n"
        "mine = socket.socket(); mine.bind(('127.0.0.1', 0)); port = mine.getsockname()[1]\n"
        "note = {'port': port, 'hostname': '127.0.0.1', 'token': 'new'}\n"
        "sys.stdin.readline()\n"
        "pathlib.Path(f'jpserver-{os.getpid()}.json').write_text(json.dumps(note))\n"
        "time.sleep(0.3); mine.listen(); time.sleep(60)\n"
    )
    with socket.socket() as nobody:  # bound, not listening: no other process gets this port
        nobody.bind(("127.0.0.1", 0))
        process = subprocess.Popen(
            [sys.executable, "-c", server], cwd=tmp_path, stdin=subprocess.PIPE, text=True
        )
        try:
            stale = {"port": nobody.getsockname()[1], "hostname": "127.0.0.1", "token": "old"}
            (tmp_path / f"jpserver-{process.pid}.json").write_text(json.dumps(stale))
            process.stdin.write("\n")
            process.stdin.close()
            lab._announce(process, "study")
            said = re.search(
                r"^open http://127.0.0.1:(\d+)/lab/tree/study\?token=new$", capsys.readouterr().out, re.M
            )
            socket.create_connection(("127.0.0.1", int(said[1])), timeout=5).close()
        finally:
            process.kill()
            process.wait(30)


def test_study_opens_copies_and_passes_the_options_on(tmp_path, monkeypatch, capsys):
    (tmp_path / "notebooks").mkdir()
    for path in LESSONS[:2]:
        shutil.copy(path, tmp_path / "notebooks")
    ran = []
    monkeypatch.setattr("minillm.course.paths.checkout", lambda: tmp_path)
    monkeypatch.setattr(lab, "need_jupyterlab", lambda: None)
    monkeypatch.setattr(lab, "run_lab", lambda command, path, root: ran.append((command, path, root)) or 0)
    before = {path: path.read_bytes() for path in (tmp_path / "notebooks").iterdir()}
    first = LESSONS[0].name
    for arguments, opened in [
        (["01_1", "--port", "9000"], f"study/{first}"),
        ([], "study"),
        (["01_1", "--solutions"], f"study/{LESSONS[0].stem}_solved.ipynb"),
    ]:
        with pytest.raises(SystemExit) as end:
            main(["study", "--no-browser", "--ip", "0.0.0.0", *arguments])
        assert end.value.code == 0
        command, path, root = ran[-1]
        assert (path, root) == (tmp_path / opened, tmp_path)
        assert {"--no-browser", "--ServerApp.ip=0.0.0.0"} <= set(command)
    assert "--ServerApp.port=9000" in ran[0][0]
    assert capsys.readouterr().out.count(f"study/{first}: made") == 1, "the second time it is there"
    assert sorted(path.name for path in (tmp_path / "study").glob("*.ipynb")) == sorted(
        [first, LESSONS[1].name, f"{LESSONS[0].stem}_solved.ipynb"]
    )
    assert {path: path.read_bytes() for path in before} == before
    assert main(["study", "98_8"]) != 0
    assert "lessons there" in capsys.readouterr().err


@pytest.mark.soak
@pytest.mark.skipif(os.name != "posix", reason="Ctrl-C is sent as a signal")
def test_a_lesson_opens_in_a_browser_and_ctrl_c_ends_the_server(tmp_path):
    """In a checkout of its own, with a study folder of its own."""
    pytest.importorskip("jupyterlab")
    root = tmp_path / "a checkout"
    for name in ("minillm", "kernels", "notebooks"):
        shutil.copytree(checkout() / name, root / name, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(checkout() / "pyproject.toml", root)
    process = subprocess.Popen(
        [sys.executable, "-m", "minillm.cli", "study", "01_1", "--no-browser", "--ip", "127.0.0.1"],
        cwd=tmp_path, env=os.environ | {"PYTHONPATH": str(root)}, text=True,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        # under nohup, and in many CI runners, SIGINT is ignored, and children inherit that
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )  # fmt: skip
    try:
        said = ""
        while not (found := re.search(r"^open (http\S+)", said, re.MULTILINE)):
            line = process.stdout.readline()
            assert line, said
            said += line
        assert "study/01_1_map_of_llms.ipynb: made" in said
        with urllib.request.urlopen(found[1], timeout=60) as page:
            assert page.status == 200
            assert b"JupyterLab" in page.read()
        process.send_signal(signal.SIGINT)
        rest, _ = process.communicate(timeout=60)
        assert process.returncode == 0
        assert "JupyterLab has ended. What you wrote is in" in rest
        assert "Traceback" not in rest
        with pytest.raises(OSError):
            urllib.request.urlopen(found[1], timeout=10)
        assert sorted(path.name for path in (root / "study").iterdir()) == [
            ".originals",
            "01_1_map_of_llms.ipynb",
        ]
    finally:
        process.kill()
        process.wait(30)
