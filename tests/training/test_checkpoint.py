import os
from pathlib import Path

import pytest
import torch

from training import checkpoint

TENSORS = {
    "weight": torch.randn(4, 3, 2, 2, generator=torch.Generator().manual_seed(0)).to(
        memory_format=torch.channels_last
    ),
    "bias": torch.tensor([0.1, float("nan")]),
}


def test_what_was_written_is_read(tmp_path: Path) -> None:
    file = tmp_path / "new" / "run.safetensors"
    checkpoint.write(file, TENSORS, {"reports": [0.1, 1e-300]})
    tensors, facts = checkpoint.read(file)
    assert facts == {"reports": [0.1, 1e-300]}
    assert torch.equal(tensors["weight"], TENSORS["weight"])
    assert tensors["bias"].view(torch.int32).tolist() == TENSORS["bias"].view(torch.int32).tolist()
    assert list(file.parent.iterdir()) == [file]


@pytest.mark.parametrize("call", ["fsync", "replace"])
def test_a_failed_write_leaves_the_old_file_alone(tmp_path: Path, monkeypatch, call) -> None:
    file = tmp_path / "run.safetensors"
    checkpoint.write(file, TENSORS, {"epoch": 1})

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(*((os, call) if call == "fsync" else (Path, call)), full)
    with pytest.raises(OSError, match="No space"):
        checkpoint.write(file, TENSORS, {"epoch": 2})
    assert checkpoint.read(file)[1] == {"epoch": 1}
    assert list(tmp_path.iterdir()) == [file]


@pytest.mark.parametrize(
    "blob", [b"", b"\x80\x04garbage" * 100, b"\x02\x00\x00\x00\x00\x00\x00\x00{}"]
)
def test_a_file_that_is_no_checkpoint_reads_as_none(tmp_path: Path, blob: bytes) -> None:
    file = tmp_path / "run.safetensors"
    assert checkpoint.read(file) is None
    file.write_bytes(blob)
    assert checkpoint.read(file) is None


def test_a_truncated_checkpoint_reads_as_none(tmp_path: Path) -> None:
    file = tmp_path / "run.safetensors"
    checkpoint.write(file, TENSORS, {})
    file.write_bytes(file.read_bytes()[:-1])
    assert checkpoint.read(file) is None
