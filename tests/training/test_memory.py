import platform
import resource

import pytest
import torch

from training.memory import keep_freed

MIB = 2**20


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="other C libraries keep their ways")
def test_a_large_tensor_finds_the_memory_of_the_one_before_it() -> None:
    def pages_cleared() -> int:
        before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
        torch.ones(40 * MIB, dtype=torch.uint8)
        return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before

    keep_freed()
    settling = [pages_cleared() for _ in range(20)]
    assert sum(settling[-5:]) < 1000  # of 5 * 10,240


def test_where_the_c_library_has_no_such_option_nothing_happens(monkeypatch) -> None:
    monkeypatch.setattr("ctypes.CDLL", lambda name: object())
    keep_freed()
