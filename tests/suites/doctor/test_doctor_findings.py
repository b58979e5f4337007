"""`bench doctor` where all is well, and its single looks."""

import subprocess
import sys

import linbench
import pytest
import torch
from linbench.kernels import operator_backends
from linbench.suites.data.datasets import DATASETS
from linbench.suites.data.demo.build import build_demo
from linbench.suites.data.demo.layouts import DemoCounts
from linbench.suites.doctor import data as data_module
from linbench.suites.doctor import memory, models, places
from linbench.suites.doctor.data import check_data, check_weights, demo_weights_problem
from linbench.suites.doctor.findings import Diagnosis, Fault, filled, grouped
from linbench.suites.doctor.packages import requirements
from linbench.suites.doctor.probes import try_codes


def test_a_healthy_environment(healthy):
    assert healthy.found["faults"] == []
    assert healthy.code == 0
    assert all(record["works"] == "yes" for record in healthy.found["commands"])
    backbones = {record["backbone"]: record for record in healthy.found["sections"]["Backbones"]}
    assert set(linbench.list_backbones()) <= set(backbones)
    assert all(backbones[name]["on cpu"] in {"native", "reference"} for name in linbench.list_backbones())
    operators = healthy.found["sections"]["Operator backends"]
    assert {(r["operator"], r["backend"]) for r in operators} == {(s.operator, s.backend) for s in operator_backends()}
    assert {r["operator"] for r in operators if "cpu" in r["used on"]} == {r["operator"] for r in operators}
    assert not (healthy.home / "results").exists()
    assert not (healthy.home / "cache").exists()


def test_every_requirement_is_tried(healthy):
    shown = {record["package"] for record in healthy.found["sections"]["Versions"]}
    assert {"torch", "torchvision", "numba", "opencv-python-headless", "packaging"} <= shown
    assert {requirement.name for requirement in requirements()} <= shown
    optional = {record["package"]: record["state"] for record in healthy.found["sections"]["Versions"]}
    assert optional["mamba-ssm"].endswith("; for its own CUDA selective scan")


def test_probes_survive_what_they_try():
    said = try_codes(
        {
            "fine": "print('noise on stdout')",
            "raises": "raise OSError('libGL.so.1: cannot open')",
            "exits": "import sys; sys.exit(3)",
            "dies": "import os; os._exit(7)",
            "killed": "import os, signal; os.kill(os.getpid(), signal.SIGKILL)",
            "last": "x = 1",
        }
    )
    assert said["fine"] == said["last"] == ""
    assert said["raises"] == "OSError: libGL.so.1: cannot open"
    assert said["exits"] == "SystemExit: 3"
    assert "exit code 7" in said["dies"]
    assert "signal 9" in said["killed"]


def test_a_probe_that_hangs_is_ended():
    said = try_codes({"hangs": "import time; time.sleep(60)", "fine": ""}, timeout_s=2)
    assert "hangs" in said["hangs"]
    assert said["fine"] == ""


def served(operator, place="cpu"):
    return models._served(operator, place, operator_backends())


def test_an_operator_without_its_compiled_kernel_runs_by_reference(monkeypatch):
    assert served("bi_wkv").state == "native"
    from linbench.kernels import registry

    monkeypatch.setattr(registry, "_absent", {"numba"})
    services = {name: {"cpu": served(name)} for name in {s.operator for s in operator_backends()}}
    assert services["bi_wkv"]["cpu"].state == "reference"
    records = {record["backbone"]: record for record in models.check_backbones(services)}
    assert records["vrwkv-s"]["on cpu"] == "reference"
    assert records["based-s"]["on cpu"] == "native", "its operators have no compiled kernel to lack"
    assert records["vit-s"]["on cpu"] == "native"


def test_a_gpu_without_triton_is_served_by_reference_and_says_how_to_mend(monkeypatch):
    from linbench.kernels import triton_tools

    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(triton_tools, "_INSTALLED", False)
    service = served("cross_scan", "cuda")
    assert service.state == "reference"
    assert "triton is not installed" in service.reason
    if sys.platform == "linux":
        assert service.mend == "pip install --upgrade triton"


def test_a_disk_that_is_full_stops_the_run_only(tmp_path, monkeypatch):
    monkeypatch.setattr(places.shutil, "disk_usage", lambda _: type("Usage", (), {"free": 200 * 2**20})())
    _, faults = places.check_folders(tmp_path / "results", tmp_path / "cache")
    (fault,) = faults
    assert "cache" in fault.what
    assert "0.20 GiB free" in fault.what
    assert len(fault.stops) == 1


def test_a_folder_that_takes_no_bytes(tmp_path):
    code = (
        "import resource, sys; resource.setrlimit(resource.RLIMIT_FSIZE, (100, 100))\n"
        "from pathlib import Path\nfrom linbench.suites.doctor.places import write_problem\n"
        "print(write_problem(Path(sys.argv[1])))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path / "a" / "b")], capture_output=True, text=True, check=False
    )
    assert done.stdout.strip() == "File too large", done.stderr
    assert list(tmp_path.iterdir()) == []


def test_memory_counts_the_least_of_its_limits(monkeypatch, tmp_path):
    records, faults = memory.check_memory()
    assert faults == [] or records[0]["free MiB"] < memory.RUN_MIB
    (tmp_path / "memory.max").write_text(str(600 * 2**20))
    (tmp_path / "memory.current").write_text(str(200 * 2**20))
    (tmp_path / "memory.stat").write_text(f"anon 5\ninactive_file {100 * 2**20}\n")
    monkeypatch.setattr(memory, "_GROUP", tmp_path)
    monkeypatch.setattr(memory, "RUN_MIB", 1000)
    _, (fault,) = memory.check_memory()
    assert fault.what.startswith("500 MiB of memory are free (limit: control group)")


def test_memory_by_ulimit():
    code = (
        "import resource, linbench.suites.doctor.memory as m\n"
        "import psutil; used = psutil.Process().memory_info().vms\n"
        "resource.setrlimit(resource.RLIMIT_AS, (used + 300 * 2**20, resource.RLIM_INFINITY))\n"
        "print(m.check_memory()[1])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert "limit: address space" in done.stdout, done.stderr
    assert "ulimit -v unlimited" in done.stdout


@pytest.fixture(scope="module")
def demo(tmp_path_factory):
    counts = DemoCounts(panoptic=2, dis_tr=2, dis_vd=2, coift=2, hrsod=1, thinobject=1, coco=2)
    return build_demo(tmp_path_factory.mktemp("data") / "demo", counts=counts, workers=1)


def test_data_sets_below_a_root(demo, tmp_path):
    records, faults = check_data(demo, tmp_path)
    states = {record["data set"]: record["state"] for record in records}
    assert set(states) == {"demo", *DATASETS}
    assert states["dis-vd"] == states["coift"] == states["hrsod"] == "whole"
    assert states["sa-1b"] == "not found"
    by_name = {record["data set"]: record for record in records}
    assert "mend" not in by_name["dis-vd"], "nothing to mend"
    assert by_name["dis-vd"]["where"] == "DIS5K/DIS-VD/im"
    assert by_name["sa-1b"]["mend"].startswith("get it: https://")
    assert faults == []

    (demo / "COIFT" / "images" / next((demo / "COIFT" / "images").iterdir()).name).unlink()
    records, (fault,) = check_data(demo, tmp_path)
    assert "coift is partly" in fault.what
    assert "bench data check coift" in fault.mend

    (demo / "COCO" / "annotations" / "instances_val2017.json").write_text("{")
    records, _ = check_data(demo, tmp_path)
    reason = next(record["reason"] for record in records if record["data set"] == "coco")
    assert "instances_val2017.json" in reason
    assert not reason.startswith("expected")


def test_a_root_without_the_default_sets(tmp_path):
    (tmp_path / "data").mkdir()
    records, faults = check_data(tmp_path / "data", tmp_path)
    mends = {record["data set"]: record.get("mend") for record in records}
    assert "xuebinqin.github.io/dis" in mends["dis-vd"]
    told = " ".join(fault.what for fault in faults)
    assert all(name in told for name in ("dis-vd", "coift", "hrsod", "no training set"))


def test_damaged_demo_weights(tmp_path, monkeypatch):
    assert demo_weights_problem(data_module.DEMO_FOLDER) == ""
    (tmp_path / "SHA256SUMS").write_text("0" * 64 + "  rwkvsam-t.safetensors\n")
    (tmp_path / "rwkvsam-t.safetensors").write_text("version https://git-lfs.github.com/spec/v1\n")
    monkeypatch.setattr(data_module, "DEMO_FOLDER", tmp_path)
    _, (fault,) = check_weights(tmp_path)
    assert "rwkvsam-t.safetensors is not the file of that hash" in fault.what
    (tmp_path / "rwkvsam-t.safetensors").unlink()
    assert "No such file" in demo_weights_problem(tmp_path)


def test_records_for_a_person():
    records = [{"name": "a", "on": "yes"}, {"name": "b", "on": "yes"}, {"name": "c", "on": "no"}]
    assert grouped(records, "name") == [{"name": "a, b", "on": "yes"}, {"name": "c", "on": "no"}]
    assert filled([{"a": 1, "b": ""}, {"a": None, "b": None, "c": 0}]) == [{"a": 1}, {"a": None, "c": 0}]


def test_a_command_is_stopped_by_its_own_faults():
    found = Diagnosis()
    found.add("Folders", [], [Fault("full", "free some", ("bench run sam-hq --backbone rwkvsam-s",))])
    assert [record["works"] for record in found.commands()] == ["no", "yes", "yes"]
