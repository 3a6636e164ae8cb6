import pytest
import torch


@pytest.fixture(autouse=True)
def _one_seed_and_one_thread():
    """Threads only cost time at these sizes, much of it where the cores are busy."""
    threads = torch.get_num_threads()
    torch.manual_seed(0)
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)
