"""An architecture of the user's own: imported by its path, built under a seed, and tried once.

Shapes: B images of a batch, C channels, H rows, W columns, K classes.
"""

import inspect
import sys
import textwrap
from collections.abc import Callable, Iterator
from contextlib import contextmanager, redirect_stdout
from hashlib import sha256
from importlib import import_module
from pathlib import Path
from typing import Any

import torch
from torch import nn

from training.benchmarks import Benchmark, BenchmarkError


def build(benchmark: Benchmark, seed: int) -> nn.Module:
    """The network, with the initial weights that its own code draws from torch's generators.

    They are seeded here, and left as they were.

    Raises:
        BenchmarkError: The path leads nowhere, or the code raises or returns something else.
    """
    function = _function(benchmark)
    with _guarded(benchmark, "raised"), torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = function(benchmark.num_classes)
    if not isinstance(model, nn.Module):
        raise _broken(benchmark, f"must return a torch.nn.Module but got {type(model).__name__}")
    return model


def check(benchmark: Benchmark, *, height: int, width: int) -> str:
    """Try the network on two images.

    Returns:
        A digest of the module's source and of the network's state: what it imports in turn is
        not looked at.

    Raises:
        BenchmarkError: It breaks a rule; in one line.
    """
    model = build(benchmark, 0)
    parameters = {n: p for n, p in model.named_parameters() if p.requires_grad}
    _check_structure(benchmark, model, parameters)
    images_BCHW = torch.zeros(2, len(benchmark.mean), height, width)
    with (
        _guarded(benchmark, f"raised on images {list(images_BCHW.shape)}:"),
        torch.random.fork_rng(devices=[]),
    ):
        model.train()
        logits_BK = model(images_BCHW)
    if not isinstance(logits_BK, torch.Tensor) or logits_BK.shape != (2, benchmark.num_classes):
        got = getattr(logits_BK, "shape", type(logits_BK).__name__)
        raise _broken(
            benchmark,
            f"must turn images {list(images_BCHW.shape)} into logits "
            f"[2, {benchmark.num_classes}] but got {list(got) if isinstance(got, tuple) else got}",
        )
    gradients = torch.autograd.grad(logits_BK.sum(), list(parameters.values()), allow_unused=True)
    for name, gradient in zip(parameters, gradients, strict=True):
        if gradient is None:
            raise _broken(benchmark, f"must use its parameter {name} for the logits but does not")
    source = inspect.getsourcefile(_function(benchmark))
    code = Path(source).read_bytes() if source else b""
    shapes = [(name, tuple(tensor.shape)) for name, tensor in model.state_dict().items()]
    return sha256(code + repr(shapes).encode()).hexdigest()[:12]


def _check_structure(
    benchmark: Benchmark, model: nn.Module, parameters: dict[str, nn.Parameter]
) -> None:
    if not parameters:
        raise _broken(benchmark, "must have parameters that can be trained but has none")
    for name, parameter in parameters.items():
        if torch.empty_like(parameter).stride() != parameter.stride():  # see Engine.descend
            raise _broken(
                benchmark,
                f"must have parameters without gaps in memory but {name} has some: clone it",
            )
    again = build(benchmark, 0).state_dict()
    for name, tensor in model.state_dict().items():
        if name not in again or not torch.equal(tensor, again[name]):
            raise _broken(
                benchmark, f"must give the same weights for the same torch seed but {name} differs"
            )
    for name, module in model.named_modules():
        if (
            isinstance(module, nn.Conv2d)
            and module.kernel_size == (1, 1)
            and max(module.stride[0], module.stride[1]) > 1
            and module.in_channels < 8
        ):  # see Benchmark.width
            raise _broken(
                benchmark,
                "must give strided 1x1 convolutions at least 8 input channels (torch's CPU kernel "
                f"corrupts memory) but {name} has {module.in_channels}",
            )


def _function(benchmark: Benchmark) -> Callable[[int], Any]:
    module, name = benchmark.architecture.split(":")
    if benchmark.modules and benchmark.modules not in sys.path:
        sys.path.insert(0, benchmark.modules)
    with _guarded(benchmark, "cannot be imported:"):
        function: Callable[[int], Any] = getattr(import_module(module), name)
    if not callable(function):
        raise _broken(benchmark, f"must be a function but is {type(function).__name__}")
    return function


@contextmanager
def _guarded(benchmark: Benchmark, doing: str) -> Iterator[None]:
    """Turn what the user's code raises into one line, and keep what it prints off the results."""
    try:
        with redirect_stdout(sys.stderr):
            yield
    except (MemoryError, torch.OutOfMemoryError):
        raise
    except (Exception, SystemExit) as error:
        what = textwrap.shorten(f"{type(error).__name__}: {error}", 300)
        raise _broken(benchmark, f"{doing} {what}") from error


def _broken(benchmark: Benchmark, rule: str) -> BenchmarkError:
    return BenchmarkError(
        f"benchmark {benchmark.name}: architecture {benchmark.architecture} {rule}"
    )
