"""Fixtures shared by all tests: goldens, which are outputs of the original code for weights that a recipe rebuilds."""

import json
import math
import re
import zlib
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from hypothesis import settings

# The same examples each time, so that a test run can be repeated; `--hypothesis-profile explore` draws new ones.
settings.register_profile("repeatable", derandomize=True, deadline=None)
settings.register_profile("explore", derandomize=False, deadline=None)
settings.load_profile("repeatable")


@pytest.fixture(autouse=True)
def _same_random_numbers():
    """A test that passes passes again: torch and numpy start each one from the same seed."""
    torch.manual_seed(0)
    np.random.seed(0)


GOLDENS = Path(__file__).resolve().parents[2] / "shared" / "goldens"


def recipe_tensor(key, shape, *, salt, exceptions=None):
    """Rebuild one float32 weight from its key and shape (the rules stand in the goldens' README and manifests)."""
    n = np.random.RandomState(zlib.crc32((salt + key).encode()) & 0xFFFFFFFF).standard_normal(shape).astype(np.float32)
    last = key.rsplit(".", 1)[-1]
    for pattern, rule in (exceptions or {}).items():
        if re.search(pattern, key):
            return {"n": n, "0.5*n": 0.5 * n}[rule] if rule in {"n", "0.5*n"} else n / math.sqrt(shape[-1])
    rules = [
        (key.endswith("running_var"), lambda: 1 + 0.1 * np.abs(n)),
        (key.endswith("running_mean"), lambda: 0.1 * n),
        ("A_log" in key or "A_b_log" in key, lambda: np.log(np.arange(1, shape[-1] + 1, dtype=np.float32)) + 0.1 * n),
        (last in {"D", "D_b", "Ds"}, lambda: 1 + 0.1 * n),
        (re.search(r"dt_proj(s)?(_b)?(\.|_)bias$", key), lambda: -4 + 0.5 * n),
        (last in {"spatial_decay", "spatial_first"}, lambda: n),
        (last.startswith(("spatial_mix", "channel_mix")), lambda: 0.5 + 0.2 * n),
        (n.ndim >= 2, lambda: n / np.float32(math.sqrt(math.prod(shape[1:])))),
        (last == "weight", lambda: 1 + 0.1 * n),
        ("layer_scale" in key or last.startswith("gamma"), lambda: 0.3 + 0.1 * n),
    ]
    value = next((build() for fits, build in rules if fits), None)
    return np.asarray(0.1 * n if value is None else value, dtype=np.float32).reshape(shape)


def standard_normal(seed, shape):
    """The goldens' inputs: float32 standard normals from numpy's legacy generator."""
    return torch.from_numpy(np.random.RandomState(seed).standard_normal(shape).astype(np.float32))


class Golden:
    """One golden folder: its manifest, the weights it was made with and its cases."""

    def __init__(self, folder):
        self.folder = folder
        self.manifest = json.loads((folder / "manifest.json").read_text())
        self.cases = self.manifest.get("cases", [])

    def state_dict(self, keys=r""):
        """Rebuild the weights under their official names, those that match the regular expression `keys`."""
        salt, exceptions = self.manifest["salt"], self.manifest.get("exceptions")
        return {
            key: torch.from_numpy(recipe_tensor(key, tuple(shape), salt=salt, exceptions=exceptions))
            for key, shape in self.manifest["params"].items()
            if re.search(keys, key)
        }

    def case(self, case_id):
        """Return the case's manifest entry and its stored arrays."""
        entry = next(c for c in self.cases if str(c["id"]) == str(case_id))
        return entry, np.load(self.folder / f"case{case_id}.npz")


def assert_close(got, values, spec, *, rtol=1e-4):
    """Hold a tensor against a golden's strided values, relative to their largest magnitude; return the error."""
    got = got.detach().float().cpu().numpy()
    assert list(got.shape) == list(spec["shape"])
    error = np.abs(got.reshape(-1)[:: spec["stride"]] - values).max() / (np.abs(values).max() + 1e-12)
    assert error < rtol, f"relative error {error:.2e}, allowed {rtol:.0e}"
    return float(error)


@pytest.fixture(scope="session")
def golden():
    """`golden(name)`: the named golden; skips the test where the goldens are not at hand."""

    def load(name):
        if not (GOLDENS / name / "manifest.json").is_file():
            pytest.skip(f"golden {name} is not there (looked in {GOLDENS})")
        return Golden(GOLDENS / name)

    return load


@pytest.fixture(scope="session")
def close():
    """`close(got, values, spec)`: assert that a tensor holds against a golden's output."""
    return assert_close


@pytest.fixture(scope="session")
def normal():
    """`normal(seed, shape)`: a golden's input tensor."""
    return standard_normal


@pytest.fixture
def one_thread():
    """Run on one thread: for tensors too small for more to pay."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="session")
def draw_discs():
    """`draw_discs(root, images, masks, count)`: pictures of a disc, PNG and JPEG, with soft-edged masks."""

    def draw(root, images, masks, count):
        for part in (images, masks):
            (root / part).mkdir(parents=True)
        for index in range(count):
            mask = np.zeros((48, 64), np.uint8)
            cv2.circle(mask, (20 + 3 * index, 22), 10 + index, 255, -1, cv2.LINE_AA)
            picture = cv2.merge([mask, 255 - mask, np.full_like(mask, 20 * index)])
            cv2.imwrite(str(root / images / f"{index}.{'jpg' if index % 2 else 'png'}"), picture)
            cv2.imwrite(str(root / masks / f"{index}.png"), mask)
        return root

    return draw
