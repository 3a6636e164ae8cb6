"""A run's checkpoint: one safetensors file, complete or not there at all."""

import json
import os
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor


def write(path: Path, tensors: dict[str, Tensor], facts: dict[str, Any]) -> None:
    """Replace the file in one move, so that a crash or a full disk leaves the old one.

    Args:
        path: Its folder is made if need be.
        tensors: On any device, in any memory format.
        facts: JSON values.
    """
    own = {  # copies: tied weights would share their memory, which the format does not know
        name: tensor.to("cpu", copy=True, memory_format=torch.contiguous_format)
        for name, tensor in tensors.items()
    }
    blob = save(own, {"run": json.dumps(facts)})
    path.parent.mkdir(parents=True, exist_ok=True)
    side = path.with_name(path.name + ".part")
    try:
        with side.open("wb") as file:
            file.write(blob)
            file.flush()
            os.fsync(file.fileno())
        side.replace(path)
    except BaseException:
        side.unlink(missing_ok=True)
        raise


def read(path: Path) -> tuple[dict[str, Tensor], dict[str, Any]] | None:
    """The file's tensors, on the CPU, and facts; None if there is no file or no sound one."""
    try:
        with safe_open(path, framework="pt") as file:
            facts = json.loads(file.metadata()["run"])
            return {name: file.get_tensor(name) for name in file.keys()}, facts  # noqa: SIM118
    except (OSError, SafetensorError, KeyError, TypeError, ValueError):
        return None
