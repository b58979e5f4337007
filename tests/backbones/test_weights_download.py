"""Downloads, against a server on this machine that resumes or does not, breaks off, lies, or is not there."""

import hashlib
import http.server
import os
import random
import re
import signal
import subprocess
import sys
import threading
import time

import pytest
from linbench.backbones import checkpoints, download, weight_files
from linbench.backbones.checkpoints import Checkpoint
from linbench.errors import UsageError, WeightsError

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


@pytest.fixture
def server():
    serve = Server()
    threading.Thread(target=serve.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
    yield serve
    serve.shutdown()
    serve.server_close()


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("LINBENCH_CACHE", str(tmp_path / "cache"))
    for name in ("LINBENCH_OFFLINE", "HF_HUB_OFFLINE", "http_proxy", "HTTP_PROXY", "https_proxy", "HTTPS_PROXY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(download, "WAIT_S", 0.01)
    return tmp_path / "cache"


def checkpoint(server, **changes):
    return Checkpoint("toy:one", "toy.pth", "MIT", "nothing", url=server.url, **changes)


def refusal(call, *arguments, **options):
    with pytest.raises(WeightsError) as caught:
        call(*arguments, **options)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def left(path):
    return sorted(p.name for p in path.parent.iterdir() if not p.name.endswith(".lock"))


# One file over HTTP


def test_a_whole_file(server, tmp_path):
    seen = []
    download.fetch_url(server.url, tmp_path / "f", size=len(DATA), advance=lambda *now: seen.append(now))
    assert (tmp_path / "f").read_bytes() == DATA
    assert seen[-1] == (len(DATA), len(DATA))
    assert not (tmp_path / "f.tag").exists()


def test_resume_asks_for_the_rest_only(server, tmp_path):
    (tmp_path / "f").write_bytes(DATA[:100_000])
    download.fetch_url(server.url, tmp_path / "f")
    assert (tmp_path / "f").read_bytes() == DATA
    assert server.asked == ["bytes=100000-"]


def test_a_server_without_ranges_starts_over(server, tmp_path):
    server.ranges = False
    (tmp_path / "f").write_bytes(DATA[:100_000])
    download.fetch_url(server.url, tmp_path / "f")
    assert (tmp_path / "f").read_bytes() == DATA


def test_a_file_that_is_whole_already(server, tmp_path):
    (tmp_path / "f").write_bytes(DATA)
    download.fetch_url(server.url, tmp_path / "f")
    assert server.asked == [f"bytes={len(DATA)}-"]
    download.fetch_url(server.url, tmp_path / "f", size=len(DATA))
    assert len(server.asked) == 1, "of known length: nobody is asked"


def test_what_is_longer_than_the_file_is_no_beginning_of_it(server, tmp_path):
    (tmp_path / "f").write_bytes(DATA + b"more")
    download.fetch_url(server.url, tmp_path / "f")
    assert (tmp_path / "f").read_bytes() == DATA


@pytest.mark.parametrize("ranges", [True, False])
def test_a_connection_that_breaks_off_is_taken_up_again(server, tmp_path, ranges):
    server.ranges, server.breaks = ranges, [120_000, 60_000, 0]
    download.fetch_url(server.url, tmp_path / "f")
    assert (tmp_path / "f").read_bytes() == DATA
    assert server.asked[1] == "bytes=120000-"
    assert len(server.asked) == 4


def test_one_that_always_breaks_off_is_given_up_and_goes_on_later(server, tmp_path):
    server.breaks = [100_000] + [0] * 50
    said = refusal(download.fetch_url, server.url, tmp_path / "f")
    assert "broke off after 100,000 of 300,000 bytes" in said
    assert "goes on from there" in said
    server.breaks, server.asked = [], []
    download.fetch_url(server.url, tmp_path / "f")
    assert server.asked == ["bytes=100000-"]
    assert (tmp_path / "f").read_bytes() == DATA


def test_another_file_at_the_same_address_is_not_mixed_with_the_first(server, tmp_path):
    server.breaks = [100_000, *[0] * 50]
    refusal(download.fetch_url, server.url, tmp_path / "f")
    server.breaks, server.etag, server.data = [], '"two"', DATA[::-1]
    download.fetch_url(server.url, tmp_path / "f")
    assert (tmp_path / "f").read_bytes() == DATA[::-1]


def test_a_server_in_trouble_is_asked_again_and_a_refusal_is_not(server, tmp_path):
    server.statuses = [503, 500, 429]
    download.fetch_url(server.url, tmp_path / "f")
    assert (tmp_path / "f").read_bytes() == DATA
    server.statuses, server.asked = [404], []
    assert "HTTP 404" in refusal(download.fetch_url, server.url, tmp_path / "g")
    assert len(server.asked) == 1


@pytest.mark.parametrize("kind", ["text/html; charset=utf-8", "application/octet-stream"])
def test_a_web_page_in_place_of_the_file(server, tmp_path, kind):
    server.data, server.kind = PAGE, kind
    assert "gives a web page" in refusal(
        download.fetch_url, server.url, tmp_path / "f", size=len(DATA) * (kind[0] == "t") or None
    )
    assert not (tmp_path / "f").exists() or not (tmp_path / "f").read_bytes()


def test_a_file_of_another_length_is_not_downloaded(server, tmp_path):
    assert "has 300,000 bytes, expected 5" in refusal(download.fetch_url, server.url, tmp_path / "f", size=5)
    assert not (tmp_path / "f").exists()


def test_a_server_that_states_a_wrong_length(server, tmp_path):
    server.stated, server.ranges = len(DATA) + 1000, False
    assert "broke off" in refusal(download.fetch_url, server.url, tmp_path / "f")


def test_nobody_there(tmp_path):
    assert "could not be downloaded" in refusal(download.fetch_url, "http://127.0.0.1:9/f", tmp_path / "f")


# A checkpoint, verified and placed


def digest(kind, data=DATA):
    if kind == "git":
        return hashlib.sha1(b"blob %d\0" % len(data) + data, usedforsecurity=False).hexdigest()
    return hashlib.new(kind, data, usedforsecurity=False).hexdigest()


@pytest.mark.parametrize(("kind", "digits"), [("sha256", 64), ("sha256", 8), ("md5", 32), ("md5", 6), ("git", 40)])
def test_digests(server, kind, digits):
    good = checkpoint(server, digest=f"{kind}:{digest(kind)[:digits]}")
    path = weight_files.obtain(good)
    assert path.read_bytes() == DATA
    assert path == weight_files.cached_path(good)
    assert left(path) == ["toy.pth", "toy.pth.checked.json"]
    assert weight_files.recorded_sha256(good) == digest("sha256")


def test_a_wrong_digest_names_both_and_places_nothing(server):
    wrong = checkpoint(server, digest="sha256:0123abcd")
    said = refusal(weight_files.obtain, wrong)
    assert "0123abcd" in said
    assert digest("sha256") in said
    path = weight_files.cached_path(wrong)
    assert left(path) == ["toy.pth.bad"]
    assert str(path) + ".bad" in said


def test_where_no_digest_is_published_the_first_one_is_held_to(server):
    plain = checkpoint(server)
    path = weight_files.obtain(plain)
    assert plain.digest_kind == "not published"
    path.write_bytes(DATA[::-1])
    said = refusal(weight_files.obtain, plain)
    assert "sha256 of the first download" in said
    assert "remove toy.pth.checked.json" in said
    assert not path.exists()


def test_what_was_verified_is_not_read_or_fetched_again(server, monkeypatch):
    plain = checkpoint(server)
    path = weight_files.obtain(plain)
    monkeypatch.setattr(weight_files, "_digests", None)
    assert weight_files.obtain(plain) == path
    assert len(server.asked) == 1


def test_a_file_put_there_by_hand_is_verified(server):
    good = checkpoint(server, digest=f"sha256:{digest('sha256')}")
    path = weight_files.cached_path(good)
    path.parent.mkdir(parents=True)
    path.write_bytes(DATA[:-1] + b"x")
    assert "published sha256" in refusal(weight_files.obtain, good)
    path.write_bytes(DATA)
    assert weight_files.obtain(good) == path
    assert server.asked == []


@pytest.mark.parametrize("variable", ["LINBENCH_OFFLINE", "HF_HUB_OFFLINE"])
def test_offline(server, monkeypatch, variable):
    plain = checkpoint(server)
    monkeypatch.setenv(variable, "1")
    said = refusal(weight_files.obtain, plain)
    path = weight_files.cached_path(plain)
    assert all(text in said for text in (variable, plain.address, str(path)))
    path.parent.mkdir(parents=True)
    path.write_bytes(DATA)
    assert weight_files.obtain(plain) == path
    assert server.asked == []


def test_a_full_disk(server, monkeypatch):
    big = checkpoint(server, size=1 << 60)
    assert "LINBENCH_CACHE" in refusal(weight_files.obtain, big)

    def full(*_, **__):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(weight_files, "fetch_url", full)
    said = refusal(weight_files.obtain, checkpoint(server))
    assert "No space left on device" in said
    assert "LINBENCH_CACHE" in said


@pytest.mark.parametrize("good", [True, False])
def test_a_cache_that_cannot_be_written(server, monkeypatch, good):
    published = checkpoint(server, digest=f"sha256:{digest('sha256')[:8]}")
    path = weight_files.cached_path(published)
    path.parent.mkdir(parents=True)
    path.write_bytes(DATA if good else DATA[:9])

    def refuse(*_, **__):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("filelock.FileLock", refuse)
    if good:
        assert weight_files.obtain(published) == path
    else:
        assert "cannot write" in refusal(weight_files.obtain, published)


FETCH = """
from linbench.backbones.checkpoints import Checkpoint
from linbench.backbones.weight_files import obtain
print(obtain(Checkpoint("toy:one", "toy.pth", "MIT", "nothing", url={url!r})), flush=True)
"""


def start(server):
    command = [sys.executable, "-c", FETCH.format(url=server.url)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=dict(os.environ))


def test_processes_that_want_the_same_file_fetch_it_once(server):
    server.pause = 0.05
    processes = [start(server) for _ in range(3)]
    said = {process.communicate(timeout=60)[0].strip() for process in processes}
    assert [process.returncode for process in processes] == [0, 0, 0]
    assert said == {str(weight_files.cached_path(checkpoint(server)))}
    assert len(server.asked) == 1


def test_a_killed_download_goes_on_where_it_was(server):
    path = weight_files.cached_path(checkpoint(server))
    part = path.with_name(path.name + ".part")
    server.data, server.pause = DATA * 20, 0.02
    process = start(server)
    deadline = time.monotonic() + 60
    while not (part.is_file() and part.stat().st_size > 1 << 20):
        assert time.monotonic() < deadline
        assert process.poll() is None
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert not path.exists()
    server.pause = 0.0
    assert weight_files.obtain(checkpoint(server)).read_bytes() == server.data
    assert server.asked[1].startswith("bytes=")
    assert int(server.asked[1][6:-1]) > 0


# The Hugging Face hub


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


# Names


def test_official_means_the_default_and_a_tag_another(server, monkeypatch, tmp_path):
    first = checkpoint(server, also_for=("toy-encoder",))
    second = Checkpoint("toy:two", "second.pth", "MIT", "nothing", url=server.url)
    monkeypatch.setattr(checkpoints, "CHECKPOINTS", (first, second))
    assert weight_files.resolve_weights("toy", "official").name == "toy.pth"
    assert weight_files.resolve_weights("toy", "official:two").name == "second.pth"
    assert weight_files.resolve_weights("toy-encoder", "official") == weight_files.cached_path(first)
    assert weight_files.resolve_weights("toy", tmp_path / "mine.pth") == tmp_path / "mine.pth"
    assert weight_files.find_checkpoint("toy:two") == second
    with pytest.raises(UsageError, match="there are official:one, official:two"):
        weight_files.resolve_weights("toy", "official:three")
    with pytest.raises(UsageError, match="no official weights are known for 'vit-t'"):
        weight_files.resolve_weights("vit-t", "official")
