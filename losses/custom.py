"""A user's own loss: a Python file with `compute_loss(logits, targets, config)`.

The file is kept as its text, travels as its text, and is executed only where it is checked or
trained with. Shapes: B examples of a batch, K classes.
"""

from __future__ import annotations

import hashlib
import json
import warnings
from collections.abc import Callable, Mapping
from copy import copy
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from losses import userfile
from losses.checks import LossError, check_keys, read_json, shown
from losses.spec import LossSpec

if TYPE_CHECKING:
    import torch
    from torch import Tensor

CHECKED = 8
"""Examples of the batch that a loss is checked on."""


@dataclass(frozen=True, repr=False)
class CustomLoss:
    """A loss that a user wrote as a file.

    As a `training.Loss` it has no structure: it keeps the epoch, and whatever the file keeps. A
    copy, made by `copy` or by a pickle, has the text alone: its file starts anew.

    Attributes:
        name: The file's name, without its folder.
        text: What stands in it.
    """

    name: str
    text: str
    _config: dict[str, int] = field(default_factory=dict, init=False, compare=False)

    structure = None

    @classmethod
    def read(cls, path: Path) -> CustomLoss:
        """Read a file, and execute it to see that it has a `compute_loss`.

        Raises:
            LossError: If it cannot be read, is no Python, raises, or `compute_loss` is missing or
                takes other arguments.
        """
        loss = cls(path.name, userfile.read(path))
        userfile.execute(loss.name, loss.text)
        return loss

    def __repr__(self) -> str:
        """Tell it from every other loss, the same in every process."""
        return f"CustomLoss({self.id})"

    def __reduce__(self) -> tuple[Any, ...]:
        return CustomLoss, (self.name, self.text)

    def to_dict(self) -> dict[str, Any]:
        """Return the JSON form, which `from_dict` reads."""
        return {"custom": {"name": self.name, "text": self.text}}

    @classmethod
    def from_dict(cls, form: object) -> CustomLoss:
        """Read the JSON form; nothing is executed.

        Raises:
            LossError: If it is not that of a user's own loss.
        """
        outer = check_keys("a user's own loss", form, required={"custom"}, optional=set())
        inner = check_keys("custom", outer["custom"], required={"name", "text"}, optional=set())
        for key, value in inner.items():
            if not isinstance(value, str):
                raise LossError(f"{key} of custom must be text but got {shown(value)}")
        return cls(**inner)

    def to_json(self) -> str:
        """Return the canonical text: keys sorted, no spaces."""
        return json.dumps(self.to_dict(), sort_keys=True, separators=(",", ":"))

    @classmethod
    def from_json(cls, text: str) -> CustomLoss:
        """Read a user's own loss from JSON text; nothing is executed.

        Raises:
            LossError: If the text is not JSON, or not that of a user's own loss.
        """
        return cls.from_dict(read_json("a user's own loss", text))

    @property
    def id(self) -> str:
        """The first twelve hex digits of the file's SHA-256: its name does not count."""
        return hashlib.sha256(self.text.encode()).hexdigest()[:12]

    @property
    def label(self) -> str:
        """The file's name."""
        return self.name

    @cached_property
    def keeps_state(self) -> bool:
        """Whether the file may keep something from call to call, which no checkpoint holds."""
        return userfile.keeps_state(self.text)

    @property
    def formula(self) -> str:
        """Where the formula stands, as one line of text."""
        return f"compute_loss of {self.name}"

    def values(self, epoch: int, total_epochs: int, num_classes: int) -> tuple[float, ...]:
        """Remember what the file is told from now on; there are no values to hand over."""
        self._config.update(num_classes=num_classes, epoch=epoch, total_epochs=total_epochs)
        return ()

    def __call__(self, logits_BK: Tensor, labels_B: Tensor, values_P: Tensor) -> Tensor:
        """Return the loss of a batch, a scalar, at the epoch that `values` was told."""
        return self.compute_loss(logits_BK, labels_B, dict(self._config))

    def compute_loss(self, logits: Tensor, targets: Tensor, config: Mapping[str, Any]) -> Tensor:
        """Return the loss of a batch, a scalar, as the file computes it.

        Args:
            logits: Logits, shape [B, K].
            targets: Labels, shape [B].
            config: "num_classes", "epoch" (from 0) and "total_epochs".

        Raises:
            LossError: If the file raises, or returns no differentiable scalar on the logits'
                device.
        """
        when = f"in epoch {config['epoch']} of {config['total_epochs']}"
        with userfile.guarded(self.name, f"compute_loss raised {when}:"):
            loss: Tensor = self._function(logits, targets, config)
        if fault := userfile.fault(loss, logits):
            raise LossError(f"{self.name}: compute_loss must return {fault} {when}")
        return loss

    def check(self, *, num_classes: int, total_epochs: int, device: torch.device | str) -> None:
        """Try the file on a small fixed batch, in the first epoch and in the last.

        It is tried on a copy, and torch's global generators are left as they were.

        Args:
            num_classes: K.
            total_epochs: Length of the run that is to come.
            device: Where that run is to be.

        Raises:
            LossError: Naming the file, the function and the rule that is broken.
        """
        import torch

        gpus = [device] if torch.device(device).type == "cuda" else []
        generator = torch.Generator().manual_seed(0)
        start_BK = torch.randn(CHECKED, num_classes, generator=generator).to(device)
        labels_B = torch.randint(num_classes, (CHECKED,), generator=generator).to(device)
        fresh = copy(self)
        with torch.random.fork_rng(devices=gpus), warnings.catch_warnings(action="ignore"):
            for epoch in dict.fromkeys((0, total_epochs - 1)):
                fresh.values(epoch, total_epochs, num_classes)
                fresh._try(start_BK.clone().requires_grad_(), labels_B)

    def _try(self, start_BK: Tensor, labels_B: Tensor) -> None:
        import torch

        # A network's logits are no leaves: a loss may change them in place.
        loss = self(start_BK * 1, labels_B, start_BK.new_empty(0))
        when = "in epoch {epoch} of {total_epochs}".format(**self._config)
        rule = f"{self.name}: compute_loss must return"
        if not loss.isfinite():
            raise LossError(f"{rule} a finite number but got {loss.item()} {when}")
        with userfile.guarded(self.name, f"the gradient of compute_loss raised {when}:"):
            (gradient_BK,) = torch.autograd.grad(loss, start_BK, allow_unused=True)
        if gradient_BK is None:
            raise LossError(f"{rule} what depends on the logits but its gradient is none {when}")
        if not gradient_BK.isfinite().all():
            raise LossError(f"{rule} what has a finite gradient but got nan or inf {when}")

    @cached_property
    def _function(self) -> Callable[..., Any]:
        return userfile.execute(self.name, self.text)


AnyLoss = LossSpec | CustomLoss


def load(text: str) -> AnyLoss:
    """Read a loss that was stored; a user's file is not executed.

    Raises:
        LossError: If the text is not JSON, or not that of a loss.
    """
    form = read_json("a loss", text)
    if isinstance(form, dict) and "custom" in form:
        return CustomLoss.from_dict(form)
    return LossSpec.from_dict(form)
