"""A server on this machine that resumes or does not, breaks off or lies; and what tests ask of a download."""

import hashlib
import http.server
import random
import re
import time

import pytest
from linbench.backbones.checkpoints import Checkpoint
from linbench.errors import WeightsError

DATA = random.Random(0).randbytes(300_000)
PAGE = b"<!DOCTYPE html><html><body>Sign in</body></html>"


class Server(http.server.ThreadingHTTPServer):
    """Serves one file, as well or as badly as its attributes say; keeps what it was asked for."""

    daemon_threads = True

    def __init__(self):
        super().__init__(("127.0.0.1", 0), Handler)
        self.data, self.ranges, self.etag, self.kind = DATA, True, '"one"', "application/octet-stream"
        self.breaks, self.statuses, self.stated, self.pause = [], [], None, 0.0
        self.asked = []

    @property
    def url(self):
        return f"http://127.0.0.1:{self.server_port}/"

    def handle_error(self, *_):
        """A client that hangs up is no error here."""


class Handler(http.server.BaseHTTPRequestHandler):
    def log_message(self, *_):
        pass

    def do_GET(self):
        serve = self.server
        wanted = self.headers.get("Range")
        serve.asked.append(wanted)
        if serve.statuses:
            self.send_error(serve.statuses.pop(0))
            return
        start = int(re.fullmatch(r"bytes=(\d+)-", wanted)[1]) if wanted and serve.ranges else 0
        if start and self.headers.get("If-Range", serve.etag) != serve.etag:
            start = 0
        if start >= len(serve.data) and start:
            self.send_response(416)
            self.send_header("Content-Range", f"bytes */{len(serve.data)}")
            self.send_header("Content-Length", "0")
            self.end_headers()
            return
        body = serve.data[start:]
        self.send_response(206 if start else 200)
        self.send_header("Content-Type", serve.kind)
        self.send_header("ETag", serve.etag)
        self.send_header("Content-Length", str(serve.stated if serve.stated is not None else len(body)))
        if start:
            self.send_header("Content-Range", f"bytes {start}-{len(serve.data) - 1}/{len(serve.data)}")
        self.end_headers()
        body = body[: serve.breaks.pop(0)] if serve.breaks else body
        for at in range(0, len(body), 50_000):
            self.wfile.write(body[at : at + 50_000])
            time.sleep(serve.pause)


def checkpoint(server, **changes):
    return Checkpoint("toy:one", "toy.pth", "MIT", "nothing", url=server.url, **changes)


def refusal(call, *arguments, **options):
    with pytest.raises(WeightsError) as caught:
        call(*arguments, **options)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def left(path):
    return sorted(p.name for p in path.parent.iterdir() if not p.name.endswith(".lock"))


def digest(kind, data=DATA):
    if kind == "git":
        return hashlib.sha1(b"blob %d\0" % len(data) + data, usedforsecurity=False).hexdigest()
    return hashlib.new(kind, data, usedforsecurity=False).hexdigest()
