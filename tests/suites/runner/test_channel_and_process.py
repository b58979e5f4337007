"""Real processes that abort, exit, hang and print: the parent always learns what happened, and leaves no orphan."""

import os
import signal
import time
from pathlib import Path

import pytest
from linbench.suites.runner.channel import Channel
from linbench.suites.runner.process import Worker, WorkerBabbledError, WorkerDiedError, WorkerHungError

PLUGS = Path(__file__).parent / "plugs"


@pytest.fixture
def worker(monkeypatch):
    monkeypatch.setenv("PYTHONPATH", str(PLUGS))
    started = Worker({"LINBENCH_TEST_MARK": "seen"}, module="misbehaving_worker")
    yield started
    started.kill()


def gone(pid):
    """Whether the process ended; one that nobody has waited for yet counts."""
    for _ in range(100):
        try:
            if Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] == "Z":
                return True
        except FileNotFoundError:
            return True
        time.sleep(0.05)
    return False


def test_channel_times_out_and_sees_the_end():
    read, write = os.pipe()
    channel = Channel(read, os.dup(write))
    with pytest.raises(TimeoutError, match=r"no answer within 0\.01 s"):
        channel.receive(0.01)
    os.write(write, b'{"a": 1}\n{"b"')
    assert channel.receive(1) == {"a": 1}
    os.write(write, b": 2}\n")
    assert channel.receive(1) == {"b": 2}
    os.close(write)
    channel.send({"c": 3})
    assert channel.receive(1) == {"c": 3}
    channel.close()


def test_answers_have_their_own_pipe(worker):
    answer = worker.ask({"do": "print"}, timeout_s=60)
    assert answer["environment"] == "seen"
    assert str(Path.cwd()) not in answer["path"]
    assert "" not in answer["path"]
    assert len(worker.ask({"do": "large"}, timeout_s=60)["numbers"]) == 100_000


def test_a_polite_end(worker):
    worker.ask({"do": "nothing"}, timeout_s=60)
    worker.close()
    assert not worker.alive
    assert gone(worker.pid)


@pytest.mark.parametrize(
    ("deed", "code", "words"),
    [
        ("abort", -signal.SIGABRT, "ended by SIGABRT"),
        ("exit", 3, "code 3"),
        ("kill", -signal.SIGKILL, "ended by SIGKILL"),
    ],
)
def test_death_is_told_with_its_cause(worker, deed, code, words):
    with pytest.raises(WorkerDiedError, match=words) as caught:
        worker.ask({"do": deed}, timeout_s=60)
    assert caught.value.returncode == code
    assert not worker.alive
    if deed == "abort":
        assert "about to abort" in caught.value.stderr_tail


@pytest.mark.parametrize("text", ["junk", "[1, 2]", '{"half": ', "\\xff"])
def test_junk_on_the_pipe_is_no_answer(worker, text):
    with pytest.raises(WorkerBabbledError, match="no answer"):
        worker.ask({"do": "babble", "text": text}, timeout_s=60)
    assert not worker.alive
    assert gone(worker.pid)


def test_a_hang_ends_at_the_limit(worker):
    worker.ask({"do": "nothing"}, timeout_s=60)
    started = time.monotonic()
    with pytest.raises(WorkerHungError, match=r"no answer within 0\.3 s"):
        worker.ask({"do": "hang"}, timeout_s=0.3)
    assert time.monotonic() - started < 20
    assert gone(worker.pid)


@pytest.mark.skipif(not Path("/proc").is_dir(), reason="looks for processes in /proc")
def test_kill_takes_grandchildren_along(worker):
    child = worker.ask({"do": "orphan"}, timeout_s=60)["child"]
    worker.kill()
    assert gone(worker.pid)
    assert gone(child)


def test_output_of_a_crash_is_cut_to_its_last_lines(worker):
    worker.ask({"do": "print"}, timeout_s=60)
    with pytest.raises(WorkerDiedError) as caught:
        worker.ask({"do": "abort"}, timeout_s=60)
    assert len(caught.value.stderr_tail) == 50
