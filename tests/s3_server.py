"""A loopback S3 that counts requests and can fail a share of them; run as `python s3_server.py PORT SHARE`.

GET /-/counts gives the number of requests by method as JSON.
"""

import json
import os
import random
import socket
import subprocess
import sys
import threading
import time
import urllib.request
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

BUCKET = "bucket"


@contextmanager
def s3_server(failing: float = 0.0) -> Iterator[str]:
    """The endpoint of a server in a process of its own, with an empty bucket; the environment names it to fsspec."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    endpoint = f"http://127.0.0.1:{port}"
    ours = {
        "AWS_ACCESS_KEY_ID": "testing",
        "AWS_SECRET_ACCESS_KEY": "testing",
        "AWS_DEFAULT_REGION": "us-east-1",
        "FSSPEC_S3_ENDPOINT_URL": endpoint,
    }
    before = {name: os.environ.get(name) for name in ours}
    command = [sys.executable, str(Path(__file__)), str(port), str(failing)]
    quiet = subprocess.DEVNULL
    with subprocess.Popen(command, env={**os.environ, **ours}, stderr=quiet, stdout=quiet) as server:
        try:
            os.environ.update(ours)
            _reload_fsspec_settings()
            deadline = time.monotonic() + 60
            while True:
                with suppress(OSError):
                    request_counts(endpoint)
                    break
                assert time.monotonic() < deadline, "the S3 server did not start"
                time.sleep(0.1)
            yield endpoint
        finally:
            server.kill()
            for name, value in before.items():
                if value is None:
                    os.environ.pop(name)
                else:
                    os.environ[name] = value
            _reload_fsspec_settings()


def request_counts(endpoint: str) -> dict[str, int]:
    """Requests so far by method."""
    with urllib.request.urlopen(f"{endpoint}/-/counts", timeout=5) as answer:
        return json.load(answer)


def _reload_fsspec_settings() -> None:
    import fsspec
    from fsspec.config import conf, set_conf_env

    conf.pop("s3", None)
    set_conf_env(conf)
    fsspec.get_filesystem_class("s3").clear_instance_cache()


def _serve(port: int, failing: float) -> None:
    import boto3
    from moto.server import DomainDispatcherApplication, create_backend_app
    from werkzeug.serving import make_server

    moto = DomainDispatcherApplication(create_backend_app)
    counts: Counter[str] = Counter()
    chance = random.Random(0)
    lock = threading.Lock()
    ready = threading.Event()

    def application(environ, start_response):
        if environ["PATH_INFO"] == "/-/counts":
            if not ready.is_set():
                start_response("503 Not Ready", [])
                return [b""]
            start_response("200 OK", [("Content-Type", "application/json")])
            return [json.dumps(counts).encode()]
        with lock:
            if ready.is_set():
                counts[environ["REQUEST_METHOD"]] += 1
            fails = ready.is_set() and chance.random() < failing
        if fails:
            environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0))
            start_response("503 Service Unavailable", [("Content-Type", "text/plain")])
            return [b"failing on purpose"]
        if "HTTP_IF_NONE_MATCH" in environ:
            with lock:  # moto looks, then writes; S3 does both in one step
                return list(moto(environ, start_response))
        return moto(environ, start_response)

    server = make_server("127.0.0.1", port, application, threaded=True)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    endpoint = f"http://127.0.0.1:{port}"
    boto3.client("s3", endpoint_url=endpoint).create_bucket(Bucket=BUCKET)
    ready.set()
    threading.Event().wait()


if __name__ == "__main__":
    _serve(int(sys.argv[1]), float(sys.argv[2]))
