"""Compiling a network: fewer passes over the memory, in exchange for the time to compile.

Shapes: B images of a batch, H rows, W columns, C channels, K classes.
"""

import logging
import warnings
from collections.abc import Callable

from torch import Tensor, device

from training.benchmarks import Benchmark

PAYS_FROM = 1000
"""Steps of a run from which compiling is tried. Not measured on a GPU yet: torch keeps what it has
compiled, for later runs and processes."""

Network = Callable[[Tensor], Tensor]
"""From bytes [B, H, W, C] to logits [B, K]."""


def pays(benchmark: Benchmark, steps: int, on: device) -> bool:
    """Whether a run of so many steps is to be compiled: decided by the run and the device alone.

    Not on a CPU: within 7 % either way there, and 19 % slower once (studies/results/speed.md).
    The user's own architecture never is: what it does beside computing would be lost.
    """
    return on.type == "cuda" and not benchmark.has_own_architecture and steps >= PAYS_FROM


def fused(network: Network, benchmark: Benchmark) -> Network:
    """The network, compiled for full batches; the short last batch of an epoch goes without.

    Where the compiler fails the network goes on as it is, with a warning.
    """
    # Imported here: seconds and 190 MB, which short runs do without.
    import torch
    from torch._dynamo.exc import TorchDynamoException
    from torch._functorch import config as functorch

    # It would warn wherever CUDA's compiler is installed and no GPU is.
    logging.getLogger("torch.utils.cpp_extension").setLevel(logging.ERROR)

    compiled: Network | None = torch.compile(network, dynamic=False)

    def run(images_BHWC: Tensor) -> Tensor:
        nonlocal compiled
        if compiled is not None and len(images_BHWC) == benchmark.batch_size:
            try:
                # Both ways at once: a failure must not come as late as in the backward pass.
                with functorch.patch(force_non_lazy_backward_lowering=True):
                    return compiled(images_BHWC)
            except TorchDynamoException as error:
                why = " ".join(str(error).split())[:200]
                warnings.warn(f"{benchmark.name} runs uncompiled: {why}", stacklevel=2)
                compiled = None
        return network(images_BHWC)

    return run
