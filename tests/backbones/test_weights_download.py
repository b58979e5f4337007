"""Downloads of one file, from a server that resumes or does not, breaks off, lies, or is not there."""

import pytest
from linbench.backbones import download
from server_for_tests import DATA, PAGE, refusal

pytestmark = pytest.mark.usefixtures("cache")


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
