"""Tests of the heads compute on small tensors, where threads cost more than they give."""

import pytest
import torch


@pytest.fixture(autouse=True)
def one_thread(request):
    """Run on one thread, unless the test is marked slow."""
    threads = torch.get_num_threads()
    if request.node.get_closest_marker("slow") is None:
        torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)
