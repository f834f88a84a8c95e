"""Downloads from a server on this machine that answers well, badly, or not at all."""

import contextlib
import hashlib
import http.server
import threading
import time

import pytest

from minillm._files import BadFileError
from minillm.data.downloads import DownloadError, download, sha256_of

CONTENT = "한국어 자료 🙂\n".encode() * 20_000
SHA256 = hashlib.sha256(CONTENT).hexdigest()


class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        if self.path == "/missing":
            self.send_error(404)
        elif self.path == "/slow":
            time.sleep(1.5)
        elif self.path == "/drip":  # each byte comes in time, the file never
            self.send_response(200)
            self.send_header("Content-Length", str(len(CONTENT)))
            self.end_headers()
            with contextlib.suppress(ConnectionError):
                for i in range(100):
                    self.wfile.write(CONTENT[i : i + 1])
                    time.sleep(0.02)
        elif self.path == "/moved":
            self.send_response(302)
            self.send_header("Location", "/whole")
            self.end_headers()
        else:
            self.send_response(200)
            if self.path != "/unstated":
                self.send_header("Content-Length", str(len(CONTENT)))
            self.end_headers()
            self.wfile.write(CONTENT[: len(CONTENT) // 2] if self.path == "/cut" else CONTENT)

    def log_message(self, *_):
        pass


@pytest.fixture(scope="module")
def server():
    running = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=running.serve_forever, args=(0.01,), daemon=True).start()
    yield f"http://127.0.0.1:{running.server_address[1]}"
    running.shutdown()
    running.server_close()


def files_in(folder):
    return [path.name for path in folder.rglob("*") if path.is_file()]


@pytest.mark.parametrize("page", ["/whole", "/unstated", "/moved"])
def test_a_whole_file_arrives_with_its_sha256_and_progress(server, tmp_path, page):
    seen = []
    path = tmp_path / "deep" / "file.txt"
    digest = download(
        server + page, path, SHA256, len(CONTENT), progress=lambda done, total: seen.append((done, total))
    )
    assert path.read_bytes() == CONTENT
    assert digest == sha256_of(path) == SHA256
    assert seen[-1] == (len(CONTENT), len(CONTENT))
    assert seen == sorted(seen)


@pytest.mark.parametrize(
    ("page", "options", "why"),
    [
        ("/missing", {}, "answered 404"),
        ("/cut", {}, "cut short"),
        ("/drip", {"timeout": 0.2}, "bytes a second"),
        ("/whole", {"sha256": "0" * 64}, "sha256 .* expected 0000"),
        ("/whole", {"size": 5}, r"offers 300,000 bytes|offers .* expected 5"),
        ("/unstated", {"size": 5}, "more than the expected 5"),
        ("/slow", {"timeout": 0.2}, "broke off|cannot be reached"),
    ],
)
def test_a_failed_download_leaves_the_old_file_and_nothing_else(server, tmp_path, page, options, why):
    path = tmp_path / "file.txt"
    path.write_text("old")
    with pytest.raises(DownloadError, match=why) as error:
        download(server + page, path, **options)
    assert server + page in str(error.value)
    assert path.read_text() == "old"
    assert files_in(tmp_path) == ["file.txt"]


def test_no_network_is_said_plainly(tmp_path):
    with pytest.raises(DownloadError, match="cannot be reached"):
        download("http://127.0.0.1:9/nothing", tmp_path / "x", timeout=2)
    assert files_in(tmp_path) == []


def test_an_interrupted_download_leaves_nothing(server, tmp_path):
    def stop(done, total):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        download(server + "/whole", tmp_path / "x", progress=stop)
    assert files_in(tmp_path) == []


@pytest.mark.parametrize("url", ["file:///etc/hostname", "ftp://host/x", "no-address", "", None, 3])
def test_other_addresses_are_refused(tmp_path, url):
    with pytest.raises(ValueError, match="url"):
        download(url, tmp_path / "x")


@pytest.mark.parametrize("options", [{"timeout": 0}, {"timeout": None}, {"size": -1}, {"size": 2.5}])
def test_bad_options_are_refused(tmp_path, options):
    with pytest.raises(ValueError, match=next(iter(options))):
        download("http://127.0.0.1:9/x", tmp_path / "x", **options)


def test_sha256_of_a_missing_file_is_refused(tmp_path):
    with pytest.raises(BadFileError, match="cannot be read"):
        sha256_of(tmp_path / "missing")
