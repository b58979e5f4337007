"""Checkpoints from the Hugging Face hub, which a server on this machine stands for."""

import http.server
import threading

import pytest
from linbench.backbones import weight_files
from linbench.backbones.checkpoints import Checkpoint
from server_for_tests import DATA, digest, left, refusal

pytestmark = pytest.mark.usefixtures("cache")


class HubHandler(http.server.BaseHTTPRequestHandler):
    def log_message(self, *_):
        pass

    def do_HEAD(self):
        self.answer()

    def do_GET(self):
        self.answer()

    def answer(self):
        serve = self.server
        serve.asked.append((self.command, self.path))
        if "/toy.pth" not in self.path:
            self.send_error(404)
            return
        self.send_response(200)
        self.send_header("ETag", f'"{serve.etag}"')
        self.send_header("X-Repo-Commit", "c" * 40)
        self.send_header("Content-Length", str(len(DATA)))
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(DATA)


@pytest.fixture
def hub(monkeypatch):
    serve = http.server.ThreadingHTTPServer(("127.0.0.1", 0), HubHandler)
    serve.daemon_threads = True
    serve.etag, serve.asked = digest("sha256"), []
    monkeypatch.setenv("HF_ENDPOINT", f"http://127.0.0.1:{serve.server_port}")
    threading.Thread(target=serve.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
    yield serve
    serve.shutdown()
    serve.server_close()


def on_hub(**changes):
    return Checkpoint("toy:hub", "toy.pth", "MIT", "nothing", repo="someone/toys", revision="main", **changes)


def test_a_file_of_the_hub_is_that_of_the_stated_digest_and_commit(hub):
    path = weight_files.obtain(on_hub())
    assert path.read_bytes() == DATA
    assert path == weight_files.cached_path(on_hub())
    assert left(path) == ["toy.pth", "toy.pth.checked.json"]
    assert any(f"/resolve/{'c' * 40}/toy.pth" in asked for _, asked in hub.asked), "pinned to the commit that was seen"


def test_a_file_that_is_not_what_the_hub_states(hub):
    hub.etag = "0" * 64
    said = refusal(weight_files.obtain, on_hub())
    assert "server's sha256" in said
    assert not weight_files.cached_path(on_hub()).exists()


def test_a_file_that_the_hub_does_not_have(hub):
    missing = Checkpoint("toy:no", "other.pth", "MIT", "nothing", repo="someone/toys")
    assert "Hugging Face hub" in refusal(weight_files.obtain, missing)
