"""Checkpoint files: formats that are read, and files that are refused without running what is in them."""

import argparse
import pickle
import zipfile

import linbench
import pytest
import torch
from linbench.backbones.weights import file_sha256, read_checkpoint
from linbench.errors import WeightsError
from safetensors.torch import save_file

TENSORS = {"stem.weight": torch.arange(6.0).view(2, 3), "stem.bias": torch.ones(2)}


class Bomb:
    """A pickle that creates a file when it is loaded."""

    def __init__(self, target):
        self.target = target

    def __reduce__(self):
        return (open, (str(self.target), "w"))


def assert_read(path):
    read = read_checkpoint(path)
    assert read.keys() == TENSORS.keys()
    for key, value in TENSORS.items():
        assert torch.equal(read[key], value)


def refusal(path):
    """The one line that the file is refused with."""
    with pytest.raises(WeightsError) as caught:
        read_checkpoint(path)
    text = str(caught.value)
    assert str(path) in text
    assert "\n" not in text
    assert len(text) < 400
    assert caught.value.exit_code == 1
    return text


@pytest.mark.parametrize("zipped", [True, False], ids=["zip", "legacy"])
@pytest.mark.parametrize(
    "wrap",
    [
        lambda state: state,
        lambda state: {"state_dict": state, "epoch": 3},
        lambda state: {"model": state},
        lambda state: {"checkpoint": 1, "model": {"state_dict": state}},
    ],
    ids=["bare", "state_dict", "model", "nested"],
)
def test_formats(tmp_path, wrap, zipped):
    path = tmp_path / "weights.pth"
    torch.save(wrap(TENSORS), path, _use_new_zipfile_serialization=zipped)
    assert zipfile.is_zipfile(path) == zipped
    assert_read(path)


def test_safetensors(tmp_path):
    path = tmp_path / "weights.safetensors"
    save_file(TENSORS, path)
    assert_read(path)


@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
def test_no_file(tmp_path, suffix):
    assert "no file" in refusal(tmp_path / f"absent{suffix}")
    assert "no file" in refusal(tmp_path)


@pytest.mark.parametrize("zipped", [True, False], ids=["zip", "legacy"])
def test_pickle_bomb_is_refused_and_not_run(tmp_path, zipped):
    target, path = tmp_path / "exploded", tmp_path / "weights.pth"
    torch.save({**TENSORS, "bomb": Bomb(target)}, path, _use_new_zipfile_serialization=zipped)
    assert "would run code" in refusal(path)
    assert not target.exists()


@pytest.mark.parametrize("protocol", [0, 2, 5])
def test_plain_pickle_bomb_is_refused_and_not_run(tmp_path, protocol):
    target, path = tmp_path / "exploded", tmp_path / "weights.pkl"
    path.write_bytes(pickle.dumps(Bomb(target), protocol=protocol))
    assert "so it was refused" in refusal(path)
    assert not target.exists()


def test_a_bomb_named_safetensors_is_refused(tmp_path):
    target, path = tmp_path / "exploded", tmp_path / "weights.safetensors"
    torch.save(Bomb(target), path)
    refusal(path)
    assert not target.exists()


@pytest.mark.parametrize("zipped", [True, False], ids=["zip", "legacy"])
def test_truncated_anywhere(tmp_path, zipped):
    whole, path = tmp_path / "whole.pth", tmp_path / "weights.pth"
    torch.save(TENSORS, whole, _use_new_zipfile_serialization=zipped)
    data = whole.read_bytes()
    for share in (0.0, 0.01, 0.1, 0.3, 0.5, 0.7, 0.9, 0.98):
        path.write_bytes(data[: int(share * len(data))])
        said = refusal(path)
        assert "download it again" in said
        assert "If you are seeing this" not in said


def test_truncated_safetensors(tmp_path):
    whole, path = tmp_path / "whole.safetensors", tmp_path / "weights.safetensors"
    save_file(TENSORS, whole)
    data = whole.read_bytes()
    for share in (0.0, 0.02, 0.3, 0.6, 0.98):
        path.write_bytes(data[: int(share * len(data))])
        assert "download it again" in refusal(path)


@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
def test_a_web_page_saved_as_weights(tmp_path, suffix):
    path = tmp_path / f"weights{suffix}"
    path.write_text("<!DOCTYPE html><html><body>Sign in to download</body></html>" * 20)
    assert "download it again" in refusal(path)


@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "is empty"),
        (b"\n  <html><head>", "is a web page"),
        (b"<?xml version='1.0'?><Error><Code>AccessDenied</Code></Error>", "is a web page"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 12345\n", "Git LFS pointer"),
        (b"{}", "download it again"),
    ],
    ids=["empty", "html", "xml", "git-lfs", "json"],
)
def test_files_that_are_no_checkpoint_say_what_they_are(tmp_path, suffix, content, said):
    path = tmp_path / f"weights{suffix}"
    path.write_bytes(content)
    assert said in refusal(path)
    assert "download it again" in refusal(path)


def test_safetensors_under_another_suffix(tmp_path):
    path = tmp_path / "weights.bin"
    save_file(TENSORS, path)
    assert_read(path)


def test_a_zip_archive_around_one_checkpoint(tmp_path):
    inner, path = tmp_path / "inner.pt", tmp_path / "inner.pt.zip"
    torch.save({"model": TENSORS}, inner)
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.write(inner, "weights/inner.pt")
        archive.writestr("__MACOSX/weights/._inner.pt", b"junk")
    assert_read(path)
    path.write_bytes(path.read_bytes()[:-30])
    assert "download it again" in refusal(path)


def test_a_bomb_in_a_zip_archive_is_refused_and_not_run(tmp_path):
    target, inner, path = tmp_path / "exploded", tmp_path / "inner.pt", tmp_path / "inner.pt.zip"
    torch.save(Bomb(target), inner)
    with zipfile.ZipFile(path, "w") as archive:
        archive.write(inner, "inner.pt")
        archive.writestr("readme.txt", "hello")
    assert "would run code" in refusal(path)
    assert not target.exists()


def test_damaged_bytes_never_end_in_another_error(tmp_path):
    whole, path = tmp_path / "whole.pth", tmp_path / "weights.pth"
    torch.save({f"layer.{i}.weight": torch.zeros(2) for i in range(3)}, whole, _use_new_zipfile_serialization=False)
    data = whole.read_bytes()
    generator = torch.Generator().manual_seed(0)
    for _ in range(200):
        place, value = (int(torch.randint(top, (), generator=generator)) for top in (len(data), 256))
        path.write_bytes(data[:place] + bytes([value]) + data[place + 1 :])
        try:
            read_checkpoint(path)
        except WeightsError as error:
            assert "\n" not in str(error)  # noqa: PT017 - most damage is harmless, so no error is expected either


@pytest.mark.parametrize("content", [[1, 2], {"epoch": 3}, torch.zeros(3), {"state_dict": {}}])
def test_a_file_without_named_tensors(tmp_path, content):
    path = tmp_path / "weights.pth"
    torch.save(content, path)
    assert "no tensors by name" in refusal(path)


def test_checkpoint_of_another_model(tmp_path):
    path = tmp_path / "vit.safetensors"
    save_file(linbench.create_backbone("vit-t").state_dict(), path)
    with pytest.raises(WeightsError, match="not of this RwkvSam but of the backbone 'vit-t'") as caught:
        linbench.create_backbone("rwkvsam-t", weights=str(path))
    assert "\n" not in str(caught.value)


def test_options_of_a_training_script_beside_the_weights_do_no_harm(tmp_path):
    path = tmp_path / "checkpoint.pth"
    torch.save({"model": TENSORS, "args": argparse.Namespace(lr=1e-3, out=None), "epoch": 299}, path)
    assert read_checkpoint(path).keys() == TENSORS.keys()


def test_sha256_is_that_of_the_bytes(tmp_path):
    path = tmp_path / "file"
    path.write_bytes(b"abc")
    assert file_sha256(path) == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
