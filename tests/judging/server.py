"""A real HTTP server that speaks the protocol of chat completions, as a judge that answers as it is told."""

import json
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

KEY = "sk-secret-0123456789"


@dataclass
class Reply:
    """What the server does with a request."""

    content: str | None = '{"educational": true, "reasoning": false}'
    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)
    finish_reason: str = "stop"
    refusal: str | None = None
    error: dict[str, Any] | None = None
    raw: bytes | None = None
    """The whole body, in place of a completion or an error."""
    wait: float = 0.0
    """Seconds."""


@dataclass
class Asked:
    """A request that came."""

    user: str
    system: str
    body: dict[str, Any]
    authorization: str
    at: float

    @property
    def document(self) -> str:
        """What stands between the markers."""
        mark = self.user.split()[1]
        return self.user.partition(f"DOCUMENT {mark} BEGINS\n")[2].rpartition(f"\nDOCUMENT {mark} ENDS")[0]


@dataclass
class JudgeServer:
    """Answers each request, numbered from 1, by `reply`; `asked` holds all that came, `at_once` the most together."""

    reply: Callable[[Asked, int], Reply] = lambda asked, number: Reply()
    asked: list[Asked] = field(default_factory=list)
    url: str = ""
    at_once: int = 0
    _now: int = 0
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def take(self, asked: Asked) -> int:
        with self._lock:
            self.asked.append(asked)
            self._now += 1
            self.at_once = max(self.at_once, self._now)
            return len(self.asked)

    def done(self) -> None:
        with self._lock:
            self._now -= 1


@contextmanager
def judge_server() -> Iterator[JudgeServer]:
    served = JudgeServer()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, format: str, *args: Any) -> None:
            pass

        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            if self.path != "/v1/chat/completions":
                self.send(404, json.dumps({"error": {"message": "no such path"}}).encode(), {})
                return
            said = {message["role"]: message["content"] for message in body["messages"]}
            authorization = self.headers.get("Authorization", "")
            asked = Asked(said["user"], said["system"], body, authorization, time.monotonic())
            number = served.take(asked)
            try:
                reply = served.reply(asked, number)
                time.sleep(reply.wait)
            finally:
                served.done()
            if reply.raw is not None:
                self.send(reply.status, reply.raw, reply.headers)
            elif reply.status != 200 or reply.error:
                self.send(reply.status, json.dumps({"error": reply.error or {"message": "no"}}).encode(), reply.headers)
            else:
                self.send(200, json.dumps(self.completion(reply)).encode(), reply.headers)

        def completion(self, reply: Reply) -> dict[str, Any]:
            message = {"role": "assistant", "content": reply.content, "refusal": reply.refusal}
            choice = {"index": 0, "message": message, "finish_reason": reply.finish_reason, "logprobs": None}
            return {"id": "1", "object": "chat.completion", "created": 1, "model": "m", "choices": [choice]}

        def send(self, status: int, content: bytes, headers: dict[str, str]) -> None:
            try:
                self.send_response(status)
                for name, value in {"Content-Type": "application/json", **headers}.items():
                    self.send_header(name, value)
                self.send_header("Content-Length", str(len(content)))
                self.end_headers()
                self.wfile.write(content)
            except OSError:  # who asked has gone
                pass

    class Server(ThreadingHTTPServer):
        daemon_threads = True

        def handle_error(self, request: Any, client_address: Any) -> None:
            """Who asked has gone: nothing to say on the standard error of the command under test."""

    server = Server(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    served.url = f"http://127.0.0.1:{server.server_port}/v1"
    try:
        yield served
    finally:
        server.shutdown()
        server.server_close()
