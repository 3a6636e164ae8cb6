"""A user's own file: compiled, executed, and held to the rules of `compute_loss`.

Every fault is one line that names the file, the function and the rule.
"""

from __future__ import annotations

import inspect
import sys
import textwrap
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager, redirect_stdout
from pathlib import Path
from types import CodeType
from typing import TYPE_CHECKING, Any

from losses.checks import LossError

if TYPE_CHECKING:
    from torch import Tensor

LARGEST = 1_000_000
"""Bytes that a file may have."""


def read(path: Path) -> str:
    """Return what stands in a file.

    Raises:
        LossError: If it cannot be read, is too large or is not UTF-8.
    """
    try:
        with path.open("rb") as file:
            content = file.read(LARGEST + 1)
        text = content.decode("utf-8")
    except OSError as error:
        raise LossError(f"{path} cannot be read: {error.strerror}") from None
    except UnicodeDecodeError:
        raise LossError(f"{path} cannot be read: it is not UTF-8 text") from None
    if len(content) > LARGEST:
        raise LossError(f"{path} must have at most {LARGEST} bytes but has more")
    return text


def execute(name: str, text: str) -> Callable[..., Any]:
    """Execute a file in a namespace of its own, which has torch, nn and F; return `compute_loss`.

    Raises:
        LossError: If it is no Python, raises, or `compute_loss` is missing or takes other
            arguments.
    """
    import torch
    import torch.nn.functional as F
    from torch import nn

    scope: dict[str, Any] = {"__name__": Path(name).stem, "torch": torch, "nn": nn, "F": F}
    code = _compiled(name, text)
    with guarded(name, "raised"):
        exec(code, scope)
    function: Callable[..., Any] | None = scope.get("compute_loss")
    if not callable(function):
        raise LossError(f"{name} must define compute_loss(logits, targets, config)")
    try:
        inspect.signature(function).bind("logits", "targets", "config")
    except TypeError as error:
        rule = "compute_loss must take (logits, targets, config)"
        raise LossError(f"{name}: {rule}: {error}") from None
    except ValueError:  # a builtin hides what it takes
        pass
    return function


@contextmanager
def guarded(name: str, doing: str) -> Iterator[None]:
    """Name the file and its line in what it raises, and keep what it prints off the results.

    Memory that runs out is passed on as it is: whoever drives the run may try again.

    Args:
        name: The file's.
        doing: What raised, as in "compute_loss raised".
    """
    import torch

    try:
        with redirect_stdout(sys.stderr):
            yield
    except (MemoryError, torch.OutOfMemoryError):
        raise
    except (Exception, SystemExit) as error:
        lines = [
            line
            for frame, line in traceback.walk_tb(error.__traceback__)
            if frame.f_code.co_filename == name
        ]
        where = f"{name}, line {lines[-1]}" if lines else name
        what = textwrap.shorten(f"{type(error).__name__}: {error}", 300)
        raise LossError(f"{where}: {doing} {what}") from error


def fault(loss: Any, logits_BK: Tensor) -> str | None:
    """Say what a loss should have been and what it is; None where nothing is wrong."""
    import torch

    if not isinstance(loss, torch.Tensor):
        return f"a tensor but got {type(loss).__name__}"
    if loss.dim():
        return f"a scalar but got shape {list(loss.shape)}"
    if loss.device != logits_BK.device:
        return f"a tensor on {logits_BK.device} but got one on {loss.device}"
    if not loss.is_floating_point():
        return f"a real number but got {loss.dtype}"
    if logits_BK.requires_grad and not loss.requires_grad:
        return "a differentiable tensor but got one that does not require grad"
    return None


def _compiled(name: str, text: str) -> CodeType:
    try:
        # Python itself would skip the mark that some editors put at the head of a file.
        return compile(text.removeprefix("\ufeff"), name, "exec", dont_inherit=True)
    except SyntaxError as error:
        raise LossError(f"{name}, line {error.lineno}: syntax error: {error.msg}") from None
    except (ValueError, RecursionError, MemoryError) as error:
        raise LossError(f"{name} must be Python but it is not: {error}") from None
