"""Compiling a network: fewer passes over the memory, in exchange for the time to compile.

Shapes: B images of a batch, H rows, W columns, C channels, K classes.
"""

import logging
import os
import shutil
import warnings
from collections.abc import Callable

from torch import Tensor

from training.benchmarks import Benchmark

PAYS_FROM = 1000
"""Steps of a run from which compiling is tried: cold, it took what 400 (ResNet-8) to 1,200 steps
(ResNet-20) save on two CPU cores; torch keeps the result for later processes."""

Network = Callable[[Tensor], Tensor]
"""From bytes [B, H, W, C] to logits [B, K]."""


def pays(benchmark: Benchmark, steps: int) -> bool:
    """Whether a run of so many steps is to be compiled: decided by the run and the machine alone.

    The user's own architecture never is: what it does beside computing would be lost.
    """
    # The threads that a network can use tell whether its steps are more than overhead.
    worthwhile = benchmark.cpu_threads != 1 and not benchmark.has_own_architecture
    return worthwhile and steps >= PAYS_FROM and _compiler() is not None


def fused(network: Network, benchmark: Benchmark) -> Network:
    """The network, compiled for full batches; the short last batch of an epoch goes without.

    Where the compiler fails the network goes on as it is, with a warning.
    """
    # Imported here: seconds and 190 MB, which short runs do without.
    import torch
    from torch._dynamo.exc import TorchDynamoException

    # It would warn wherever CUDA's compiler is installed and no GPU is.
    logging.getLogger("torch.utils.cpp_extension").setLevel(logging.ERROR)

    compiled: Network | None = torch.compile(network, dynamic=False)

    def run(images_BHWC: Tensor) -> Tensor:
        nonlocal compiled
        if compiled is not None and len(images_BHWC) == benchmark.batch_size:
            try:
                return compiled(images_BHWC)
            except TorchDynamoException as error:
                why = " ".join(str(error).split())[:200]
                warnings.warn(f"{benchmark.name} runs uncompiled: {why}", stacklevel=2)
                compiled = None
        return network(images_BHWC)

    return run


def _compiler() -> str | None:
    """The C++ compiler that torch will call, if there is one."""
    return shutil.which(os.environ.get("CXX", "g++"))
