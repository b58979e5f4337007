"""What disturbs a block is noticed: throttled control groups, slow GPU clocks; what nobody tells is null."""

from types import SimpleNamespace

import pytest
from linbench.suites.runner.health import MachineHealth
from linbench.suites.runner.nvml import Gpu


class FakeNvml:
    """A GPU that answers as the test says."""

    NVML_CLOCK_SM = 1
    NVML_TEMPERATURE_GPU = 0
    nvmlClocksThrottleReasonHwSlowdown = 0x8
    nvmlClocksThrottleReasonSwThermalSlowdown = 0x20

    def __init__(self):
        self.clock, self.mask, self.energy_mj, self.uuids = 1980, 0x4, 1000, []

    def nvmlInit(self):
        pass

    def nvmlDeviceGetHandleByUUID(self, uuid):
        self.uuids.append(uuid)
        return "handle"

    def nvmlDeviceGetClockInfo(self, handle, kind):
        return self.clock

    def nvmlDeviceGetTemperature(self, handle, kind):
        return 55

    def nvmlDeviceGetPowerUsage(self, handle):
        return 300_000

    def nvmlDeviceGetCurrentClocksThrottleReasons(self, handle):
        return self.mask

    def nvmlDeviceGetTotalEnergyConsumption(self, handle):
        return self.energy_mj

    def nvmlDeviceGetComputeRunningProcesses(self, handle):
        return [SimpleNamespace(pid=1)]


@pytest.fixture
def cpu_stat(tmp_path):
    path = tmp_path / "cpu.stat"
    path.write_text("usage_usec 5\nnr_throttled 3\nthrottled_usec 7\n")
    return path


def block(health):
    health.start()
    return health.stop()


def test_a_throttled_control_group_marks_the_block(cpu_stat):
    health = MachineHealth(cpu_stat=cpu_stat)
    assert block(health) == (None, None, None)
    health.start()
    cpu_stat.write_text("nr_throttled 5\n")
    assert health.stop().mark == "the control group was throttled 2 times"
    assert block(health).mark is None
    assert health.facts()["throttled"] == 2
    assert "throttled 2 times" in health.facts()["warnings"][-1]


def test_what_the_machine_does_not_tell_is_null(tmp_path):
    health = MachineHealth(cpu_stat=tmp_path / "missing")
    assert block(health).mark is None
    assert health.facts()["throttled"] is None
    assert health.facts()["gpu"] is None


def test_gpu_clock_temperature_power_and_energy(cpu_stat):
    nvml = FakeNvml()
    gpu = Gpu("1234-abcd", library=nvml)
    assert nvml.uuids == ["GPU-1234-abcd"]
    health = MachineHealth(gpu, cpu_stat=cpu_stat)
    health.start()
    nvml.energy_mj += 2500
    seen = health.stop()
    assert seen.mark is None, "a steady power cap is no disturbance"
    assert seen.energy_j == 2.5
    assert seen.gpu == (1980, 55, 300.0, 1, ())
    assert health.facts()["gpu"]["power_w"] == 300.0


def test_a_slow_or_throttled_gpu_marks_the_block(cpu_stat):
    nvml = FakeNvml()
    health = MachineHealth(Gpu("GPU-1", library=nvml), cpu_stat=cpu_stat)
    for _ in range(3):
        assert block(health).mark is None
    nvml.clock = 1700
    assert "1700 MHz, usually 1980 MHz" in block(health).mark
    nvml.clock, nvml.mask = 1980, 0x20
    assert block(health).mark == "the GPU throttled: software thermal slowdown"


def test_without_nvml_everything_is_null_with_a_reason(monkeypatch):
    def missing(name):
        raise ImportError(name)

    monkeypatch.setattr("linbench.suites.runner.nvml.importlib.import_module", missing)
    gpu = Gpu("GPU-1")
    assert gpu.energy_j() is None
    assert gpu.facts()["reason"] == "nvidia-ml-py is not installed"
    assert {value for name, value in gpu.facts().items() if name not in ("reason", "throttled")} == {None}


def test_a_gpu_that_refuses_some_questions_answers_the_others():
    nvml = FakeNvml()
    nvml.nvmlDeviceGetPowerUsage = lambda handle: 1 / 0
    reading = Gpu("GPU-1", library=nvml).read()
    assert reading.power_w is None
    assert reading.clock_mhz == 1980


def test_a_library_without_a_driver_is_told_once():
    nvml = FakeNvml()

    def fail():
        raise RuntimeError("Driver Not Loaded")

    nvml.nvmlInit = fail
    assert Gpu("GPU-1", library=nvml).facts()["reason"] == "NVML: Driver Not Loaded"
    assert Gpu(None, library=FakeNvml()).facts()["reason"] == "torch does not tell which GPU it is"
