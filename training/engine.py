"""A network in training: everything that changes during a run, in tensors that stay in place.

An engine outlives its run. The next run on the same benchmark resets the tensors, and finds the
network compiled, the images uploaded and the step recorded.

Shapes: B images of a batch, N of a part, C channels, H rows, W columns, K classes, P parameters
of the loss.
"""

from collections.abc import Hashable, Iterator, Mapping, Sequence
from contextlib import contextmanager

import torch
from torch import Tensor, nn
from torch.optim.sgd import sgd

from training.benchmarks import Benchmark
from training.data import Part
from training.draws import Draws
from training.fusion import fused
from training.graphs import Graphs
from training.memory import keep_freed
from training.models.vgg import Dropout
from training.precision import Precision, arithmetic
from training.step import Loss, Step

SCORING_BATCH = {"cpu": 500, "cuda": 2500}
"""Images scored at once: on a GPU as many as keep it busy in a few GB."""

KEPT = 4
"""Engines of which the process keeps what they hold on the device, while they wait for a run."""


class Engine:
    """Trains one network, with one loss after another.

    Args:
        benchmark: Whose protocol it follows.
        model: The network, which becomes the engine's own.
        device: Where it is trained.
        precision: Of the network's arithmetic; the weights and the loss are float32 in each.
        fuse: Whether to compile the network for full batches.
    """

    def __init__(
        self,
        benchmark: Benchmark,
        model: nn.Module,
        device: torch.device,
        *,
        precision: Precision = "fp32",
        fuse: bool = False,
    ) -> None:
        if device.type == "cpu":
            keep_freed()
        self.model = model.to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.device = device
        self.precision: Precision = precision
        self.loss_sum = torch.zeros((), dtype=torch.float64, device=device)
        self.gradient_ratio = torch.zeros((), dtype=torch.float64, device=device)
        self.mean_C = torch.tensor(benchmark.mean, device=device)
        self.std_C = torch.tensor(benchmark.std, device=device)
        # CUDA's kernel reads the rate from a float32, the CPU's takes any.
        rate = torch.float32 if device.type == "cuda" else torch.float64
        self.learning_rate = torch.zeros((), dtype=rate, device=device)
        self.momentum = benchmark.momentum
        self.weight_decay = benchmark.weight_decay
        trained = {n: p for n, p in self.model.named_parameters() if p.requires_grad}
        self.names, self.parameters = list(trained), list(trained.values())
        self.buffers = [torch.zeros_like(each) for each in self.parameters]
        self.dropout = torch.Generator(device)
        for module in self.model.modules():
            if isinstance(module, Dropout):
                module.generator = self.dropout
        self._values: dict[Hashable, Tensor] = {}
        self._steps: dict[tuple[Part, int], Step] = {}
        self._logits = fused(self._plain_logits, benchmark) if fuse else self._plain_logits
        records = device.type == "cuda" and not benchmark.has_own_architecture
        self._graphs = Graphs(self) if records else None

    def begin(self, loss: Loss, initial: Mapping[str, Tensor]) -> None:
        """Begin a run: the network's initial state by name, and no momentum."""
        self.loss = loss
        self.gradient_ratio.zero_()
        with torch.no_grad():
            for name, tensor in self.model.state_dict().items():
                tensor.copy_(initial[name])
            for buffer in self.buffers:
                buffer.zero_()

    def start_epoch(self, *, learning_rate: float, values: tuple[float, ...]) -> None:
        """Refresh what is fixed during an epoch, and forget the last epoch's losses."""
        self.model.train()
        arithmetic(self.precision, self.device)
        self.loss_sum.zero_()
        self.learning_rate.fill_(learning_rate)
        # Losses of one structure have a tensor in common: a recorded one reads it where it is.
        key = self.loss.structure, len(values)
        if key not in self._values:
            self._values[key] = torch.empty(len(values), device=self.device)
        self.values_P = self._values[key]
        self.values_P.copy_(torch.tensor(values))

    def step(self, part: Part, draws: Draws, *, measure: bool = False) -> None:
        """Train on one batch, and add its losses to `loss_sum`.

        Measuring sets `gradient_ratio` and changes nothing else: the gradient that it needs
        comes by on its way to the weights.
        """
        key = part, len(draws.image)
        if key not in self._steps:
            self._steps[key] = Step(self, *key)
        step = self._steps[key]
        torch.stack(draws, out=step.draws_4B)
        if self._graphs is not None and self._graphs.replay(step, measure=measure):
            return
        step.forward()
        step.judge(measure=measure)
        step.backward()

    def network(self, images_BHWC: Tensor) -> Tensor:
        """The logits [B, K] of bytes [B, H, W, C], in training."""
        return self._logits(images_BHWC)

    def _plain_logits(self, images_BHWC: Tensor) -> Tensor:
        # No weight cache: it holds tensors of one step, which a recording would make those of all.
        with torch.autocast(
            self.device.type, torch.bfloat16, enabled=self.precision == "bf16", cache_enabled=False
        ):
            logits_BK: Tensor = self.model(self.normalise(images_BHWC))
        return logits_BK.to(self.mean_C.dtype)

    @torch.no_grad()
    def descend(self, gradients: Sequence[Tensor]) -> None:
        """One step of SGD with momentum."""
        # The fused kernel walks weights and gradients in the order in which they lie in memory:
        # on a GPU it refuses to where the orders differ, on a CPU it takes the wrong numbers.
        laid_out = [
            each if each.stride() == weight.stride() else torch.empty_like(weight).copy_(each)
            for weight, each in zip(self.parameters, gradients, strict=True)
        ]
        # The optimiser class would do the same, but imports the compiler to be made: seconds
        # and 190 MB in every process.
        sgd(
            self.parameters,
            laid_out,
            self.buffers,  # type: ignore[arg-type]
            weight_decay=self.weight_decay,
            momentum=self.momentum,
            lr=self.learning_rate,
            dampening=0,
            nesterov=False,
            maximize=False,
            fused=True,
        )

    @torch.no_grad()
    def logits(self, part: Part) -> Tensor:
        """The logits of every image of a part, without augmentation: [N, K].

        In bf16, too, the float32 weights are scored as such: rounding must not flip an image.
        """
        self.model.eval()
        batches = torch.split(part.images, SCORING_BATCH[self.device.type])
        return torch.cat([self.model(self.normalise(images_BHWC)) for images_BHWC in batches])

    def normalise(self, images_BHWC: Tensor) -> Tensor:
        """Bytes [B, H, W, C] to floats [B, C, H, W] in channels-last order."""
        floats_BHWC = (
            images_BHWC.to(self.mean_C.dtype).div_(255).sub_(self.mean_C).div_(self.std_C)
        )
        return floats_BHWC.permute(0, 3, 1, 2)

    def state(self) -> dict[str, Tensor]:
        """Weights, running statistics and momentum by name: the tensors themselves."""
        momentum = {
            f"momentum.{name}": buffer
            for name, buffer in zip(self.names, self.buffers, strict=True)
        }
        return {**self.model.state_dict(), **momentum}


_waiting: list[tuple[Hashable, Engine]] = []


@contextmanager
def borrowed(
    benchmark: Benchmark,
    model: nn.Module,
    device: torch.device,
    *,
    precision: Precision,
    fuse: bool,
) -> Iterator[Engine]:
    """An engine for the length of a run: one that waits, or a new one around this model.

    Two runs at once get two. Code of the user's own may keep state anywhere: its network is
    never used twice.
    """
    # Compiled code is made for a number of threads.
    surroundings = torch.get_default_dtype(), torch.get_num_threads()
    key = benchmark.digest, str(device), precision, fuse, surroundings
    place = next((i for i, (other, _) in enumerate(_waiting) if other == key), None)
    if place is None or benchmark.has_own_architecture:
        engine = Engine(benchmark, model, device, precision=precision, fuse=fuse)
    else:
        _, engine = _waiting.pop(place)
    try:
        yield engine
    finally:
        if not benchmark.has_own_architecture:
            _waiting.append((key, engine))
            del _waiting[:-KEPT]
