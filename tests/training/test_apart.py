import os
import signal
from dataclasses import replace
from multiprocessing import active_children

import pytest

from tests.training.test_reference import first_images
from training import reference, search_data
from training.apart import yardstick


@pytest.fixture
def options(digits, cross_entropy) -> dict:
    data = first_images(search_data(digits), 128)
    return {"benchmark": digits, "loss": cross_entropy, "seed": 3, "data": data, "epochs": 2}


def test_each_number_of_workers_has_a_run_of_its_own_until_the_last_epoch(options) -> None:
    with yardstick(**options) as epoch:
        assert min(epoch(workers) for workers in (0, 1, 0, 1)) > 0
        with pytest.raises(StopIteration):
            epoch(0)


def test_what_goes_wrong_there_is_raised_here(options) -> None:
    broken = options | {"benchmark": replace(options["benchmark"], num_classes=5)}
    with yardstick(**broken) as epoch, pytest.raises(IndexError, match="out of bounds"):
        epoch(0)


def test_a_process_that_is_killed_is_told(options, monkeypatch) -> None:
    monkeypatch.setattr(reference, "train", None)  # nothing is trained in this process
    with yardstick(**options) as epoch:
        epoch(0)
        (child,) = active_children()
        os.kill(child.pid, signal.SIGKILL)
        with pytest.raises(ChildProcessError, match="ended with status -9"):
            epoch(0)
    assert not active_children()
