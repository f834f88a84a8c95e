"""A small hub on this machine: the part of the Hub's HTTP interface that downloads and pushes use, good or bad.

    with running_hub() as hub:              # hub.url is what HF_ENDPOINT names
        hub.add("owner/name", {"config.json": b"{}"})

`hub.asked` lists what came: (method, path). What can go wrong is set on a repository (`gated`, `token`) or on the whole
hub (`cut`: bodies end half way; `silent`: nobody answers; `status`: every answer is this one).
"""

import base64
import contextlib
import hashlib
import http.server
import json
import re
import threading
from dataclasses import dataclass, field
from urllib.parse import unquote, urlsplit

LARGE = 10_000  # bytes from which a file goes by LFS, as the Hub does from 10 MB


@dataclass
class Repository:
    """revisions: branch or tag -> commit; commits: commit -> files."""

    revisions: dict = field(default_factory=dict)
    commits: dict = field(default_factory=dict)
    token: str | None = None
    gated: bool = False
    private: bool = False

    def commit(self, files, revision="main"):
        content = {**self.commits.get(self.revisions.get(revision), {}), **files}
        sha = hashlib.sha1(repr(sorted(content.items())).encode()).hexdigest()
        self.commits[sha] = content
        self.revisions[revision] = sha
        return sha


class Hub(http.server.ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False

    def __init__(self):
        super().__init__(("127.0.0.1", 0), Answer)
        self.url = f"http://127.0.0.1:{self.server_address[1]}"
        self.repositories, self.blobs, self.asked, self.messages = {}, {}, [], []
        self.cut = self.silent = False
        self.status = None
        self.released = threading.Event()

    def add(self, name, files, kind="model", **how):
        repository = self.repositories[kind, name] = Repository(**how)
        repository.commit(files)
        return repository

    def files(self, name, kind="model"):
        repository = self.repositories[kind, name]
        return repository.commits[repository.revisions["main"]]

    def downloads(self):
        return [path.split("/resolve/")[1].split("/", 1)[1] for method, path in self.asked
                if method == "GET" and "/resolve/" in path]  # fmt: skip


class Answer(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self):
        self.answer()

    do_HEAD = do_POST = do_PUT = do_GET

    def answer(self):
        hub, self.path = self.server, unquote(urlsplit(self.path).path)
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        if self.headers.get("Transfer-Encoding") == "chunked":
            while size := int(self.rfile.readline(), 16):
                body += self.rfile.read(size)
                self.rfile.readline()
            self.rfile.readline()
        hub.asked.append((self.command, self.path))
        if hub.silent:
            hub.released.wait(30)
            self.close_connection = True
            return
        if hub.status:
            return self.say(hub.status, {"error": "no"})
        if self.path == "/api/repos/create":
            return self.create(json.loads(body))
        if found := re.fullmatch(r"/lfs/(\w+)", self.path):
            if self.command == "PUT":
                hub.blobs[found[1]] = body
            return self.send(200, hub.blobs[found[1]] if self.command == "GET" else b"")
        if found := re.fullmatch(r"/(?:(dataset)s/)?([^/]+/[^/]+)/resolve/([^/]+)/(.+)", self.path):
            return self.file(found[1] or "model", *found.groups()[1:])
        if found := re.fullmatch(r"/api/(model|dataset)s/([^/]+/[^/]+)(?:/(\w+)/(.+))?", self.path):
            return self.api(*found.groups(), body)
        if found := re.fullmatch(r"/([^/]+/[^/]+)\.git/info/lfs/objects/batch", self.path):
            return self.batch(json.loads(body))
        self.say(404, {"error": "no such page"})

    def api(self, kind, name, verb, rest, body):
        repository = self.repository(kind, name)
        if repository is None:
            return
        if verb == "preupload":
            asked = json.loads(body)["files"]
            modes = [
                {
                    "path": one["path"],
                    "uploadMode": "lfs" if one["size"] >= LARGE else "regular",
                    "shouldIgnore": False,
                }
                for one in asked
            ]
            return self.say(200, {"files": modes})
        if verb == "commit":
            return self.commit(repository, body)
        sha = repository.revisions.get(rest or "main", rest)
        if sha not in repository.commits:
            return self.say(404, {"error": "no"}, {"X-Error-Code": "RevisionNotFound"})
        siblings = [{"rfilename": path} for path in repository.commits[sha]]
        self.say(
            200, {"id": name, "sha": sha, "siblings": siblings, "private": False, "tags": [], "downloads": 0}
        )

    def repository(self, kind, name):
        repository = self.server.repositories.get((kind, name))
        given = self.headers.get("Authorization")
        if repository is None or (repository.private and given != f"Bearer {repository.token}"):
            return self.say(404, {"error": "no"}, {"X-Error-Code": "RepoNotFound"})
        if repository.gated and given != f"Bearer {repository.token}":
            return self.say(403, {"error": "no"}, {"X-Error-Code": "GatedRepo"})
        return repository

    def file(self, kind, name, revision, path):
        repository = self.repository(kind, name)
        if repository is None:
            return
        sha = repository.revisions.get(revision, revision)
        content = repository.commits.get(sha, {}).get(path)
        if content is None:
            return self.say(404, {"error": "no"}, {"X-Error-Code": "EntryNotFound"})
        digest = hashlib.sha256(content).hexdigest()
        self.send(200, content, {"ETag": f'"{digest}"', "X-Repo-Commit": sha})

    def create(self, asked):
        if self.headers.get("Authorization") != "Bearer write":
            return self.say(401, {"error": "Invalid credentials in Authorization header"})
        name = f"{asked['organization']}/{asked['name']}" if asked.get("organization") else asked["name"]
        if ("model", name) in self.server.repositories:
            return self.say(409, {"error": "there", "url": f"{self.server.url}/{name}"})
        private = asked.get("private") or asked.get("visibility") == "private"
        self.server.repositories["model", name] = Repository(private=private, token="write")
        self.server.repositories["model", name].commit({".gitattributes": b""})
        self.say(200, {"url": f"{self.server.url}/{name}"})

    def batch(self, asked):
        objects = [
            {"oid": one["oid"], "size": one["size"],
             "actions": {"upload": {"href": f"{self.server.url}/lfs/{one['oid']}"}}}
            for one in asked["objects"]
        ]  # fmt: skip
        self.say(200, {"transfer": "basic", "objects": objects})

    def commit(self, repository, body):
        files = {}
        for line in body.splitlines():
            row = json.loads(line)
            value = row["value"]
            if row["key"] == "header":
                self.server.messages.append(value["summary"])
            elif row["key"] == "file":
                files[value["path"]] = base64.b64decode(value["content"])
            elif row["key"] == "lfsFile":
                files[value["path"]] = self.server.blobs[value["oid"]]
        sha = repository.commit(files)
        self.say(200, {"success": True, "commitOid": sha, "commitUrl": f"{self.server.url}/o/n/commit/{sha}"})

    def say(self, status, value, headers=()):
        self.send(status, json.dumps(value).encode(), {"Content-Type": "application/json", **dict(headers)})

    def send(self, status, content, headers=()):
        with contextlib.suppress(ConnectionError):
            self.send_response(status)
            for name, value in dict(headers).items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            if self.command != "HEAD":
                cut = self.server.cut and status == 200 and "/resolve/" in self.path
                self.wfile.write(content[: len(content) // 2] if cut else content)
                self.close_connection = cut or self.close_connection

    def log_message(self, *_):
        pass


@contextlib.contextmanager
def running_hub():
    hub = Hub()
    threading.Thread(target=hub.serve_forever, args=(0.01,), daemon=True).start()
    try:
        yield hub
    finally:
        hub.released.set()
        hub.shutdown()
        hub.server_close()
