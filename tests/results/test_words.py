import pytest
from linbench.results.tabling.latency import panels
from linbench.results.words import counted
from rows_for_tests import latency_row


@pytest.mark.parametrize(("number", "text"), [(0, "0 threads"), (1, "1 thread"), (2, "2 threads")])
def test_one_is_not_many(number, text):
    assert counted(number, "thread") == text


def test_captions_count_prompts_and_threads():
    (panel,) = panels([latency_row("vit-s", 512, 1.0, threads=1, prompts=1, stage="e2e")])
    assert "1 prompt an image, 1 thread" in panel.describe()
