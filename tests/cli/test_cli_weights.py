"""`bench weights` and `bench list backbones` at the command line, and `--weights official` from file to model."""

import functools
import hashlib
import http.server
import json
import threading
from io import StringIO

import linbench
import pytest
import rich.console
import torch
from linbench.backbones import checkpoints, weight_files
from linbench.backbones.checkpoints import Checkpoint
from linbench.cli import main
from linbench.errors import UsageError, WeightsError
from linbench.suites import inventory, terminal
from linbench.suites import weights as weights_suite


class Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *_):
        pass


@pytest.fixture
def bench(capsys, tmp_path, monkeypatch, one_thread):
    monkeypatch.chdir(tmp_path)
    for name in ("LINBENCH_OFFLINE", "HF_HUB_OFFLINE", "http_proxy", "HTTP_PROXY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("LINBENCH_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("LINBENCH_RESULTS", str(tmp_path / "results"))

    def run(*arguments, code=0):
        with pytest.raises(SystemExit) as stop:
            main([str(argument) for argument in arguments])
        out, err = capsys.readouterr()
        assert (stop.value.code or 0) == code, out + err
        assert "Traceback" not in out + err
        if code:
            assert err.count("error:") == 1
            return err
        return out

    return run


@pytest.fixture(scope="module")
def published(tmp_path_factory):
    """Files that a server on this machine gives, and the checkpoints that say what they are."""
    folder = tmp_path_factory.mktemp("published")
    torch.manual_seed(0)
    classifier = linbench.create_classifier("vit-t")
    system = linbench.create_system("rwkvsam-t")
    torch.save({"model": classifier.state_dict()}, folder / "vit.pth")
    torch.save(system.state_dict(), folder / "sam.pth")
    handler = functools.partial(Quiet, directory=str(folder))
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
    url = f"http://127.0.0.1:{server.server_port}/"
    digest = hashlib.sha256((folder / "vit.pth").read_bytes()).hexdigest()
    yield (
        Checkpoint("vit-t:toy", "vit.pth", "MIT", "noise", url=url, digest=f"sha256:{digest[:8]}"),
        Checkpoint("rwkvsam-t:toy", "sam.pth", "MIT", "noise", url=url, classes=0),
        Checkpoint("vit-s:wrong", "vit.pth", "MIT", "noise", url=url),
    )
    server.shutdown()
    server.server_close()


@pytest.fixture
def toys(published, monkeypatch):
    for module in (checkpoints, weight_files, weights_suite):
        monkeypatch.setattr(module, "CHECKPOINTS", published)
    return published


# The listing of official checkpoints


def test_list(bench):
    records = {record["name"]: record for record in json.loads(bench("weights", "list", "--json"))}
    assert records["sam-vit-b:sa1b"]["for"] == ["sam-vit-b", "samvit-b"]
    assert records["vit-s:deit-in1k"]["hash"] == "sha256 (8 digits)"
    assert records["vmamba-s:in1k"]["hash"] == "not published"
    assert not any(record["verified"] or record["path"] for record in records.values())
    shown = bench("weights", "list")
    assert all(record["file"] in shown for record in records.values())
    assert "TerryPei" in shown


def test_list_takes_a_pattern(bench):
    names = [record["name"] for record in json.loads(bench("weights", "list", "vim-*", "--json"))]
    assert names == ["vim-t:in1k", "vim-s:in1k", "vim-b:in1k"]
    assert [r["name"] for r in json.loads(bench("weights", "list", "samvit-l", "--json"))] == ["sam-vit-l:sa1b"]
    assert "no official weights match" in bench("weights", "list", "yolo*", code=2)


@pytest.mark.parametrize("command", ["list", "get", "check"])
def test_help_has_examples(bench, command):
    assert "Example" in bench("weights", command, "--help")


# Getting and checking


def test_get_list_check(bench, toys):
    assert "no weights here" in bench("weights", "check")
    paths = json.loads(bench("weights", "get", "vit-t", "rwkvsam-t:toy", "--json"))
    assert list(paths) == ["vit-t:toy", "rwkvsam-t:toy"]
    records = {record["name"]: record for record in json.loads(bench("weights", "list", "--json"))}
    assert records["vit-t:toy"]["path"] == paths["vit-t:toy"]
    assert records["rwkvsam-t:toy"]["recorded sha256"]
    found = {record["name"]: record for record in json.loads(bench("weights", "check", "--json"))}
    assert found["vit-t:toy"]["hash"] == "as sha256 (8 digits)"
    assert found["rwkvsam-t:toy"]["hash"] == "as first download"
    assert found["vit-t:toy"]["loads"] == "into vit-t"
    assert {(r["finite"], r["fault"]) for r in found.values()} == {("yes", "")}
    assert "vit-t:toy" in bench("weights", "check", "vit-t")


def test_check_finds_a_file_that_changed(bench, toys):
    path = weight_files.obtain(toys[0])
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)
    said = bench("weights", "check", "vit-t", code=1)
    assert "expected the published sha256 (8 digits)" in said


def test_check_of_an_official_file_for_another_model(bench, toys):
    weight_files.obtain(toys[2])
    said = bench("weights", "check", code=1)
    assert "not of this Classifier but of the backbone 'vit-t'" in said


def test_check_of_a_file_of_ones_own(bench, toys, tmp_path):
    state = linbench.create_backbone("vit-t").state_dict()
    torch.save(state, tmp_path / "mine.pth")
    (record,) = json.loads(bench("weights", "check", "vit-t", tmp_path / "mine.pth", "--json"))
    assert (record["hash"], record["loads"], record["finite"]) == ("of no official file", "into vit-t", "yes")
    (record,) = json.loads(bench("weights", "check", "vit-t", weight_files.obtain(toys[0]), "--json"))
    assert record["hash"] == "that of vit-t:toy"
    state["blocks.3.mlp.fc1.weight"][5, :7] = torch.nan
    torch.save(state, tmp_path / "nan.pth")
    assert "7 of 147456 in blocks.3.mlp.fc1.weight" in bench("weights", "check", "vit-t", tmp_path / "nan.pth", code=1)
    (tmp_path / "page.pth").write_text("<!DOCTYPE html><html>")
    assert "is a web page" in bench("weights", "check", "vit-t", tmp_path / "page.pth", code=1)
    assert "published sha256" in bench("weights", "check", "vit-t:toy", tmp_path / "mine.pth", code=1)


@pytest.mark.parametrize(
    ("arguments", "said", "code"),
    [
        (("get",), "Missing argument", 2),
        (("get", "vit-q"), "Did you mean vit-", 2),
        (("check", "vit-t"), "bench weights get vit-t:toy", 1),
        (("check", "vit-t", "absent.pth"), "absent.pth is no file", 1),
        (("check", "nothing-like-it", "here.pth"), "unknown backbone", 2),
        (("check", "here.pth"), "here.pth is a file, but as what is it to be checked", 2),
        (("check", "vit-s", "here.pth"), "error: vit-s: these weights are not of this Vit", 1),
    ],
)
def test_errors(bench, toys, tmp_path, arguments, said, code):
    torch.save({"a": torch.zeros(1)}, tmp_path / "here.pth")
    assert said in bench("weights", *arguments, code=code)


def test_offline(bench, toys, monkeypatch):
    monkeypatch.setenv("LINBENCH_OFFLINE", "1")
    said = bench("weights", "get", "vit-t", code=1)
    assert toys[0].address in said
    assert str(weight_files.cached_path(toys[0])) in said


# `official` as weights


def test_official_weights_fill_backbone_classifier_and_system(bench, toys):
    classifier = linbench.create_classifier("vit-t", weights="official")
    backbone = linbench.create_backbone("vit-t", weights="official:toy")
    for key, value in backbone.state_dict().items():
        assert torch.equal(value, classifier.backbone.state_dict()[key])
    torch.manual_seed(0)
    linbench.create_classifier("vit-t")
    expected = linbench.create_system("rwkvsam-t").state_dict()
    for key, value in linbench.create_system("rwkvsam-t", weights="official").state_dict().items():
        assert torch.equal(value, expected[key])
    with pytest.raises(WeightsError, match="but of the backbone 'vit-t'"):
        linbench.create_backbone("vit-s", weights="official")
    with pytest.raises(UsageError, match="no official weights are known for 'vit-b'"):
        linbench.create_backbone("vit-b", weights="official")


# `bench list backbones`


@pytest.mark.parametrize("width", [100, 160])
def test_the_table_of_backbones_is_readable(bench, monkeypatch, width):
    out = StringIO()
    real = rich.console.Console
    monkeypatch.setattr(rich.console, "Console", lambda **_: real(file=out, width=width))
    terminal.show_records(inventory.shown("backbones", inventory.inventory("backbones")), False)
    lines = out.getvalue().splitlines()
    names = linbench.list_backbones()
    assert max(map(len, lines)) <= width
    assert {line.split(" ")[0] for line in lines} >= set(names)
    assert len(lines) <= len(names) + 10, "a row takes one line, or two where a mixer has a long name"
    assert "…" not in out.getvalue()


def test_the_records_of_backbones_are_complete(bench, toys):
    weight_files.obtain(toys[0])
    records = {record["name"]: record for record in json.loads(bench("list", "backbones", "--json"))}
    for name in linbench.list_backbones():
        spec, record = linbench.backbone_spec(name), records[name]
        assert record["parameter counts"] == dict(spec.params)
        assert record["macs"] == {str(side): macs for side, macs in spec.macs.items()}
        assert record["strides"] == list(spec.strides)
        assert record["licence"] == (spec.licence or checkpoints.LICENCES.get(spec.family, ""))
        assert record["source"] == spec.source
    assert records["vit-t"]["weights here"] == ["vit-t:toy"]
    assert records["vit-s"]["weights"] == ["vit-s:wrong"]
    assert records["vit-b"]["weights"] == []
