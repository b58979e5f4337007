"""`bench doctor` in environments that are really broken: the fault is named with what mends it, and the exit code is 1.

Each test starts a process, so faults that do not hide each other share one.
"""

import pytest

RUN = "bench run sam-hq --backbone rwkvsam-s"
# Packages are tried in two of the tests; in the others they are taken to work, which saves seconds.
TRUSTING = (
    "import linbench.suites.doctor.packages as packages\npackages.try_codes = lambda codes: dict.fromkeys(codes, '')\n"
)
START = TRUSTING + "from linbench.cli import main; main()"


def one(doctor, word):
    """The one fault with this word, after checks that hold for every broken environment."""
    assert doctor.code == 1
    errors = [line for line in doctor.err.splitlines() if line.startswith("error:")]
    assert len(errors) == 1
    assert errors[0].startswith("error: a default command would fail: ")
    found = [fault for fault in doctor.found["faults"] if word in fault]
    assert len(found) == 1, doctor.found["faults"]
    assert "; to mend it: " in found[0]
    return found[0]


def works(doctor):
    return {record["command"]: record["works"] for record in doctor.found["commands"]}


def test_packages_that_are_broken_missing_or_old(doctor):
    doctor.module("torchvision", "raise RuntimeError('operator torchvision::nms does not exist')")
    doctor.module("numba", "raise ImportError('Numba needs NumPy 2.0 or less. Got NumPy 2.5.')")
    doctor.module("pycocotools", "import os\nos.abort()")
    doctor.module("psutil", "raise ModuleNotFoundError(\"No module named 'psutil'\")")
    doctor.distribution("safetensors", "0.1.0")
    doctor.found = doctor()

    fault = one(doctor, "torchvision::nms does not exist")
    assert "pip install --force-reinstall torch torchvision" in fault
    assert "pip install --upgrade numba numpy" in one(doctor, "Numba needs NumPy 2.0 or less")
    assert "pip install --force-reinstall 'pycocotools>=" in one(doctor, "kills Python (signal 6)")
    assert "'psutil>=" in one(doctor, "No module named 'psutil'")
    fault = one(doctor, "version 0.1.0 is too old, expected >=0.4.3")
    assert "pip install --upgrade 'safetensors>=0.4.3'" in fault

    state = {record["package"]: record["state"] for record in doctor.found["sections"]["Versions"] if "state" in record}
    assert state["torch"] == state["pandas"] == "works", "packages after one that kills Python are tried too"
    assert "nms" in state["timm"], "what is built on a broken package is shown, but is no fault of its own"
    assert not any(fault.startswith("timm") for fault in doctor.found["faults"])
    assert doctor.found["sections"]["Backbones"][0]["state"] == "not looked at"
    assert set(works(doctor).values()) == {"no"}


def test_numba_alone_costs_the_backbones_that_need_it(doctor):
    doctor.module("numba", "raise ImportError('libllvmlite.so: cannot open shared object file')")
    doctor.found = doctor()
    assert "pip install --upgrade numba numpy" in one(doctor, "libllvmlite.so")
    backbones = {record["backbone"]: record for record in doctor.found["sections"]["Backbones"]}
    assert backbones["rwkvsam-s"]["on cpu"] == "not here"
    assert "libllvmlite.so" in backbones["rwkvsam-s"]["reason"]
    assert backbones["rwkvsam-s"]["mend"] == "pip install --upgrade numba numpy"
    assert backbones["vit-s"]["on cpu"] == "native"
    operators = doctor.found["sections"]["Operator backends"]
    cpu = [record for record in operators if record["backend"] == "cpu"]
    assert cpu
    assert all(record["works here"] == "no" and "libllvmlite.so" in record["reason"] for record in cpu)


def test_folders_limits_and_data(doctor):
    (doctor.home / "a-file").write_text("")
    doctor.environment["LINBENCH_RESULTS"] = str(doctor.home / "a-file" / "results")
    doctor.environment["LINBENCH_DATA"] = str(doctor.home / "nowhere")
    limits = (
        "import resource\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (2**27, 2**27))\n"
        "import linbench.suites.doctor.memory as memory\n"
        "memory.RUN_MIB = 2**40\n"
    )
    doctor.found = doctor(code=limits + START)
    assert "set LINBENCH_RESULTS" in one(doctor, "the results folder")
    assert "ulimit -f unlimited" in one(doctor, "no file may be larger than 128 MiB")
    assert "LINBENCH_DATA" in one(doctor, "nowhere does not exist")
    one(doctor, "MiB of memory are free")
    assert set(works(doctor).values()) == {"no"}, "no command can store its rows"
    assert not (doctor.home / "cache").exists(), "folders made for the trial are removed"


def test_a_user_without_a_home(doctor):
    for name in ("HOME", "LINBENCH_CACHE"):
        doctor.environment.pop(name, None)
    # A container's user has no entry among the users.
    doctor.found = doctor(code="import pwd\npwd.getpwuid = {}.__getitem__\n" + START)
    assert "set LINBENCH_CACHE" in one(doctor, "no home folder")


def test_text_ends_with_what_to_do(doctor):
    (doctor.home / "linbench.toml").write_text("cache = 3\n")
    doctor.environment.pop("LINBENCH_RESULTS")
    doctor("--brief", code=START, text=True)
    assert doctor.code == 1
    assert "- the folders are not known" in doctor.out
    assert "to mend it: linbench.toml has cache = 3" in doctor.out
    assert "Versions" not in doctor.out
    assert RUN in doctor.out


@pytest.mark.parametrize(
    "code", ["raise RuntimeError('operator torchvision::nms does not exist')", "import nothing_of_this_name"]
)
def test_other_commands_send_to_the_doctor(doctor, code):
    doctor.module("torchvision", code)
    done = doctor.start("run", "sam-hq", "-b", "timm:resnet18", "--weights", "demo", "--dry-run")
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1].startswith("error: a package cannot be imported (")
    assert "`bench doctor` says what mends it" in done.stderr
