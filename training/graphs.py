"""Steps as CUDA graphs: hundreds of kernels that the CPU no longer launches one by one.

The two pieces of the network are recorded once for each part and batch size, that of the loss
once for each structure. Values that change (learning rate, loss parameters, draws) are tensors
that the recorded kernels read, never numbers that they would keep.

Shapes: B images of a batch, K classes.
"""

import warnings
from collections.abc import Callable, Hashable, Iterable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from training.step import Step

if TYPE_CHECKING:
    from training.engine import Engine

WARM_UP = 3
"""Times that a piece runs before it is recorded: libraries choose and allocate on first calls."""

TOLERANCE = {"fp32": 1e-2, "tf32": 1e-2, "bf16": 1e-1}
"""How far a replayed step may lie from the eager one, in units of the eager step's length."""

Piece = Callable[[], None]


class Graphs:
    """The recorded pieces of an engine's steps.

    A recording is proven before it is used: from the same state, the replayed step must move
    the weights as the eager step does. Where it does not, or cannot be recorded at all, the
    engine goes on step by step, with a warning.
    """

    def __init__(self, engine: "Engine") -> None:
        self._engine = engine
        # Pools of their own: a loss is recorded at any time, also between two graphs of which
        # the second reads what the first has left in their pool.
        self._network_pool = torch.cuda.graph_pool_handle()
        self._loss_pool = torch.cuda.graph_pool_handle()
        self._networks: dict[Step, tuple[Piece, Piece]] = {}
        self._losses: dict[Hashable, Piece] = {}
        self._broken = False

    @property
    def recordings(self) -> int:
        """How many pieces were recorded so far."""
        return 2 * len(self._networks) + len(self._losses)

    def replay(self, step: Step, *, measure: bool) -> bool:
        """Take a step, recording what was not yet recorded; False if it is left to be taken."""
        if self._broken:
            return False
        is_new = step not in self._networks
        try:
            if is_new:
                self._record_network(step)
            judge = self._judge(step, measure=measure)
            if is_new:
                self._prove(step)
        except RuntimeError as error:
            if isinstance(error, torch.OutOfMemoryError):
                raise
            why = " ".join(str(error).split())[:200]
            warnings.warn(f"steps are not replayed but run one by one: {why}", stacklevel=2)
            self._broken = True
            return False
        forward, backward = self._networks[step]
        forward()
        judge()
        backward()
        return True

    def _record_network(self, step: Step) -> None:
        """Record the network's two pieces; the state is afterwards what it was."""

        def once() -> None:
            step.forward()
            step.gradient_BK.zero_()
            step.backward()

        with self._untouched():
            _warm_up(once)
            forward = self._record(step.forward, self._network_pool)
            backward = self._record(step.backward, self._network_pool)
        self._networks[step] = forward, backward

    def _judge(self, step: Step, *, measure: bool) -> Piece:
        structure = self._engine.loss.structure
        if structure is None:  # state, or branches on it: recorded it would never change again
            return lambda: step.judge(measure=measure)
        key = step, structure, measure
        if key not in self._losses:
            with self._untouched():
                _warm_up(lambda: step.judge(measure=measure))
                piece = self._record(lambda: step.judge(measure=measure), self._loss_pool)
            self._losses[key] = piece
        return self._losses[key]

    def _prove(self, step: Step) -> None:
        """Compare a replayed step with an eager one, both under the gradient of cross-entropy."""
        forward, backward = self._networks[step]
        plain_BK = torch.zeros_like(step.gradient_BK)

        def moved(pieces: Iterable[Piece]) -> Tensor:
            before = [each.detach().clone() for each in self._engine.parameters]
            with self._untouched():
                for piece in pieces:
                    piece()
                after = [each.detach().clone() for each in self._engine.parameters]
            return torch.cat([(a - b).flatten() for a, b in zip(after, before, strict=True)])

        def judge() -> None:
            plain_BK.copy_(step.logits_BK.detach().softmax(1))
            plain_BK.scatter_add_(1, step.labels_B[:, None], torch.full_like(plain_BK[:, :1], -1))
            step.gradient_BK.copy_(plain_BK / len(plain_BK))

        replayed = moved((forward, judge, backward))
        recorded_logits_BK = step.logits_BK
        eager = moved((step.forward, judge, step.backward))
        step.logits_BK = recorded_logits_BK  # where the recorded pieces have it
        distance, length = (replayed - eager).norm().item(), eager.norm().item()
        if not distance <= TOLERANCE[self._engine.precision] * length:
            raise RuntimeError(f"a replayed step of length {length} is off by {distance}")

    def _record(self, piece: Piece, pool: Any) -> Piece:
        graph = torch.cuda.CUDAGraph()
        graph.register_generator_state(self._engine.dropout)
        # The stream is given back even where recording fails. Other threads may call CUDA
        # meanwhile: a worker's listens to its coordinator.
        with (
            torch.cuda.stream(torch.cuda.current_stream()),
            torch.cuda.graph(graph, pool=pool, capture_error_mode="thread_local"),
        ):
            piece()
        return graph.replay

    @contextmanager
    def _untouched(self) -> Iterator[None]:
        """Give everything that a step changes back what it was."""
        engine = self._engine
        changing = [*engine.state().values(), engine.loss_sum, engine.gradient_ratio]
        saved = [tensor.clone() for tensor in changing]
        draws = engine.dropout.get_state()
        try:
            yield
        finally:
            with torch.no_grad():
                for tensor, value in zip(changing, saved, strict=True):
                    tensor.copy_(value)
            engine.dropout.set_state(draws)


def _warm_up(piece: Piece) -> None:
    stream = torch.cuda.Stream()  # type: ignore[no-untyped-call]
    stream.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(stream):
        for _ in range(WARM_UP):
            piece()
    torch.cuda.current_stream().wait_stream(stream)
