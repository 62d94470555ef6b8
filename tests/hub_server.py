"""A model hub on loopback: repositories are folders, revisions are their subfolders, as far as clients ask for them."""

import hashlib
import json
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit


@dataclass
class Hub:
    """`root`/models|datasets/owner/name/revision/files; `refused` maps an id to a status and an error code."""

    root: Path
    endpoint: str = ""
    refused: dict[str, tuple[int, str]] = field(default_factory=dict)
    fetched: Counter[str] = field(default_factory=Counter)
    """Files that were sent, by path."""


def commit_of(identity: str, revision: str) -> str:
    return hashlib.sha1(f"{identity}@{revision}".encode()).hexdigest()


@contextmanager
def hub_server(root: Path) -> Iterator[Hub]:
    hub = Hub(root)

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, *arguments: Any) -> None:
            pass

        def do_HEAD(self) -> None:
            self.answer(body=False)

        def do_GET(self) -> None:
            self.answer(body=True)

        def do_POST(self) -> None:
            self.rest = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            self.answer(body=True)

        def answer(self, body: bool) -> None:
            path = unquote(urlsplit(self.path).path).strip("/")
            if path.count("/") < 3:  # lists of anything, accounts: not a part of this hub
                self.fails(404, "RepoNotFound", body)
                return
            if path.startswith("api/"):
                kind, owner, name, *rest = path.removeprefix("api/").split("/")
                self.api(kind, f"{owner}/{name}", rest, body)
                return
            kind = "datasets" if path.startswith("datasets/") else "models"
            owner, name, _, revision, *parts = path.removeprefix("datasets/").split("/")
            folder = self.folder(kind, f"{owner}/{name}", revision, body)
            if folder is None:
                return
            file = folder.joinpath(*parts)
            if not file.is_file():
                self.fails(404, "EntryNotFound", body)
                return
            content = file.read_bytes()
            headers = {
                "ETag": f'"{hashlib.sha1(content).hexdigest()}"',
                "X-Repo-Commit": commit_of(f"{owner}/{name}", folder.name),
                "Accept-Ranges": "bytes",
            }
            status, wanted = 200, self.headers.get("Range")
            if wanted:
                first, _, last = wanted.removeprefix("bytes=").partition("-")
                end = min(int(last) + 1 if last else len(content), len(content))
                headers["Content-Range"] = f"bytes {int(first)}-{end - 1}/{len(content)}"
                status, content = 206, content[int(first) : end]
            if body:
                hub.fetched[f"{owner}/{name}/{folder.name}/{'/'.join(parts)}"] += 1
            self.send(status, content, headers, body)

        def api(self, kind: str, identity: str, rest: list[str], body: bool) -> None:
            what, revision = (rest[0], rest[1]) if len(rest) > 1 else ("revision", "main")
            folder = self.folder(kind, identity, revision, body)
            if folder is None:
                return
            files = sorted(path for path in folder.rglob("*") if path.is_file())
            names = {path.relative_to(folder).as_posix(): path for path in files}
            if what == "revision":
                answer: Any = {
                    "id": identity,
                    "sha": commit_of(identity, folder.name),
                    "siblings": [{"rfilename": name} for name in names],
                    "private": False,
                    "tags": [],
                }
            else:  # tree, or paths-info, of which clients ask for some alone
                entries = [
                    {
                        "type": "file",
                        "path": name,
                        "size": path.stat().st_size,
                        "oid": hashlib.sha1(path.read_bytes()).hexdigest(),
                    }
                    for name, path in names.items()
                ]
                folders = {parent.as_posix() for name in names for parent in Path(name).parents} - {"."}
                entries += [{"type": "directory", "path": name, "size": 0, "oid": "0" * 40} for name in sorted(folders)]
                if what == "paths-info":
                    asked = self.asked_paths()
                    entries = [entry for entry in entries if entry["path"] in asked]
                else:
                    under = "/".join(rest[2:])
                    entries = [entry for entry in entries if not under or entry["path"].startswith(under + "/")]
                    if "recursive=true" not in self.path.lower():
                        entries = [e for e in entries if "/" not in e["path"].removeprefix(under).strip("/")]
                answer = entries
            self.send(200, json.dumps(answer).encode(), {"Content-Type": "application/json"}, body)

        def asked_paths(self) -> set[str]:
            text = self.rest.decode()
            if text.startswith("{"):
                return set(json.loads(text)["paths"])
            return {unquote(part.partition("=")[2]) for part in text.split("&") if part.startswith("paths=")}

        def folder(self, kind: str, identity: str, revision: str, body: bool) -> Path | None:
            if identity in hub.refused:
                self.fails(*hub.refused[identity], body)
                return None
            place = hub.root / kind / identity
            if not place.is_dir():
                self.fails(404, "RepoNotFound", body)
                return None
            for folder in place.iterdir():
                if revision in (folder.name, commit_of(identity, folder.name)):
                    return folder
            self.fails(404, "RevisionNotFound", body)
            return None

        def fails(self, status: int, code: str, body: bool) -> None:
            self.send(status, json.dumps({"error": code}).encode(), {"X-Error-Code": code}, body)

        def send(self, status: int, content: bytes, headers: dict[str, str], body: bool) -> None:
            self.send_response(status)
            for name, value in headers.items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            if body:
                self.wfile.write(content)

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    hub.endpoint = f"http://127.0.0.1:{server.server_port}"
    try:
        yield hub
    finally:
        server.shutdown()
        server.server_close()
