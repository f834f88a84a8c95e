"""The voting page by HTTP, and in a real browser, by keyboard."""

import json
import os
import shutil
import subprocess
import threading
import time

import pytest

from minillm.apps.judging import Arena, arena_app

pytest.importorskip("starlette", reason="the page needs the extra `serve`")
uvicorn = pytest.importorskip("uvicorn", reason="the page needs the extra `serve`")
httpx = pytest.importorskip("httpx", reason="httpx is in the test extra")
CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
HOSTILE = "<script>document.title = 'broken'</script><img src=x onerror=\"document.title='broken'\"> & </div>"


@pytest.fixture
def arena(tmp_path):
    made = Arena(tmp_path / "votes.db")
    for number in range(3):
        made.add(
            f"질문 {number} {HOSTILE}",
            {"secret-one": f"하나 {number} {HOSTILE}", "secret-two": f"둘 {number}"},
        )
    return made


@pytest.fixture
def address(arena):
    config = uvicorn.Config(arena_app(arena), host="127.0.0.1", port=0, log_level="error")
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run)
    thread.start()
    try:
        deadline = time.monotonic() + 60
        while not server.started and time.monotonic() < deadline:
            time.sleep(0.01)
        yield f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}/"
    finally:
        server.should_exit = True
        thread.join(60)


def test_votes_by_http(arena, address):
    with httpx.Client(base_url=address) as client:
        page = client.get("/")
        assert "script-src" in page.headers["content-security-policy"]
        first = client.get("/next").json()
        assert set(first) == {"id", "question", "left", "right"}
        assert "secret" not in page.text + json.dumps(first)
        vote = {"id": first["id"], "choice": "left"}
        assert client.post("/vote", json=vote).json() == {"counted": True}
        assert client.post("/vote", json=vote).json() == {"counted": False}
        assert client.get("/next").json()["id"] != first["id"]
        for _ in range(2):
            client.post("/vote", json={"id": client.get("/next").json()["id"], "choice": "tie"})
        assert client.get("/next").json() == {}
    with httpx.Client(base_url=address) as other:  # another browser is another voter
        other.get("/")
        assert other.post("/vote", json=vote).json() == {"counted": True}
    assert len(arena.games()) == 4


def test_what_is_no_vote(arena, address):
    with httpx.Client(base_url=address) as client:
        assert client.get("/next").status_code == 403  # nobody yet
        assert client.post("/vote", json={"id": 1, "choice": "left"}).status_code == 403
        client.get("/")
        as_json = {"content-type": "application/json"}
        for body in (b"", b"{", b"[]", b"3", b'{"id": 1}', b'{"id": "1", "choice": "left"}',
                     b'{"id": 99, "choice": "tie"}', b'{"id": 1, "choice": "both"}', b'{"id": {}, "choice": []}',
                     b"[" * 5000, b"\xff"):  # fmt: skip
            reply = client.post("/vote", content=body, headers=as_json)
            assert reply.status_code == 400, body
            assert "Traceback" not in reply.text
        assert client.post("/vote", content=b" " * 20_000, headers=as_json).status_code == 413
        # a form of another site cannot send JSON
        assert client.post("/vote", content=b'{"id": 1, "choice": "left"}').status_code == 403
    assert arena.games() == []


class Browser:
    """Headless Chromium, driven over its own pipe (DevTools protocol, messages that end with a zero byte)."""

    def __init__(self, folder):
        (to, self.out), (self.into, back) = os.pipe(), os.pipe()

        def pipes():
            os.dup2(to, 3), os.dup2(back, 4)

        self.process = subprocess.Popen(
            [CHROMIUM, "--headless=new", "--no-sandbox", "--disable-gpu", "--remote-debugging-pipe",
             f"--user-data-dir={folder}", "--no-first-run", "about:blank"],
            preexec_fn=pipes, close_fds=False, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )  # fmt: skip
        os.close(to), os.close(back)
        self.number, self.rest = 0, b""
        target = self.ask("Target.createTarget", url="about:blank")["targetId"]
        self.session = self.ask("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]

    def ask(self, method, **params):
        self.number += 1
        message = {"id": self.number, "method": method, "params": params}
        if hasattr(self, "session"):
            message["sessionId"] = self.session
        os.write(self.out, json.dumps(message).encode() + b"\0")
        while True:
            while b"\0" not in self.rest:
                piece = os.read(self.into, 65536)
                assert piece, "the browser has ended"
                self.rest += piece
            one, _, self.rest = self.rest.partition(b"\0")
            found = json.loads(one)
            if found.get("id") == self.number:
                assert "error" not in found, found
                return found["result"]

    def value(self, expression):
        found = self.ask("Runtime.evaluate", expression=expression, awaitPromise=True, returnByValue=True)
        return found["result"].get("value")

    def until(self, expression, seconds=60):
        deadline = time.monotonic() + seconds
        while not (found := self.value(expression)):
            assert time.monotonic() < deadline, (
                f"never came: {expression}; {self.value('document.body.innerText')}"
            )
            time.sleep(0.02)
        return found

    def press(self, key):
        for kind in ("keyDown", "keyUp"):
            self.ask(
                "Input.dispatchKeyEvent",
                type=kind,
                key=key,
                text=key if kind == "keyDown" and len(key) == 1 else "",
            )

    def close(self):
        self.process.kill()
        self.process.wait(30)
        os.close(self.out), os.close(self.into)


@pytest.mark.skipif(CHROMIUM is None, reason="needs Chromium (apt install chromium)")
def test_a_person_votes_by_keyboard_in_a_real_browser(arena, address, tmp_path):
    browser = Browser(tmp_path / "profile")
    try:
        browser.ask("Page.navigate", url=address)
        text = 'document.getElementById("{}").textContent'.format
        shown = []
        for key, choice in (("1", "left"), ("ArrowRight", "right"), ("0", "tie")):
            question = browser.until(f"ballot !== null && {text('question')}")
            assert question not in shown
            shown.append(question)
            body = browser.value("document.body.innerHTML")
            assert "secret" not in body
            assert browser.value("document.title") == "Which answer is better?"  # texts are texts
            assert HOSTILE in browser.value(f"{text('question')}")
            browser.until("performance.now() - shown > 300")
            browser.press("x")  # no key of ours
            if key == "1":  # twice in a hurry
                event = f"document.dispatchEvent(new KeyboardEvent('keydown', {{key: '{key}'}}))"
                browser.value(f"{event}, {event}, true")
            else:
                browser.press(key)
            browser.until(f"{text('question')} !== {json.dumps(question)}")
            stored = arena.games()
            assert len(stored) == len(shown), (choice, stored)
        browser.until(f"{text('said')}.startsWith('All pairs')")
        assert browser.value('getComputedStyle(document.getElementById("texts")).display') == "none"
        assert [result for _, _, result in arena.games()] == [1, 0, 0.5]
        assert arena.stats()["voters"] == 1
    finally:
        browser.close()
