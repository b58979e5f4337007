"""A `bench doctor` in a process of its own, in an environment that a test breaks."""

import json
import os
import subprocess
import sys

import pytest

START = "from linbench.cli import main; main()"


class Doctor:
    """Runs `bench doctor --json` with folders of its own, and keeps what it said."""

    def __init__(self, home):
        self.home = home
        self.modules = home / "modules"
        self.modules.mkdir()
        cleared = ("LINBENCH_DATA", "LINBENCH_RESULTS", "LINBENCH_CACHE", "XDG_CACHE_HOME")
        self.environment = {name: value for name, value in os.environ.items() if name not in cleared}
        inherited = [str(self.modules), os.environ.get("PYTHONPATH", "")]
        self.environment |= {
            "PYTHONPATH": os.pathsep.join(filter(None, inherited)),
            "LINBENCH_RESULTS": str(home / "results"),
            "LINBENCH_CACHE": str(home / "cache"),
            "OMP_NUM_THREADS": "1",
        }

    def module(self, name, code):
        """Shadow an installed module by this code."""
        (self.modules / name).mkdir()
        (self.modules / name / "__init__.py").write_text(code)

    def distribution(self, name, version):
        """Let a package appear in this version."""
        folder = self.modules / f"{name}-{version}.dist-info"
        folder.mkdir()
        (folder / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")

    def start(self, *arguments, code=START):
        """Run a command of `bench` to its end."""
        done = subprocess.run(
            [sys.executable, "-c", code, *map(str, arguments)],
            cwd=self.home,
            env=self.environment,
            capture_output=True,
            text=True,
            check=False,
        )
        assert "Traceback" not in done.stderr, done.stderr
        return done

    def __call__(self, *arguments, code=START, text=False):
        done = self.start("doctor", *([] if text else ["--json"]), *arguments, code=code)
        self.code, self.err, self.out = done.returncode, done.stderr, done.stdout
        return None if text else json.loads(done.stdout)


@pytest.fixture
def doctor(tmp_path):
    return Doctor(tmp_path)


@pytest.fixture(scope="session")
def healthy(tmp_path_factory):
    """What it says of this environment as it is, with folders that can be written."""
    examined = Doctor(tmp_path_factory.mktemp("healthy"))
    examined.found = examined()
    return examined
