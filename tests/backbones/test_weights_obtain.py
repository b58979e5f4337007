"""Checkpoints verified and placed, by one process or several; the names they are asked for by."""

import os
import signal
import subprocess
import sys
import time

import pytest
from linbench.backbones import checkpoints, weight_files
from linbench.backbones.checkpoints import Checkpoint
from linbench.errors import UsageError
from server_for_tests import DATA, checkpoint, digest, left, refusal

pytestmark = pytest.mark.usefixtures("cache")


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
