"""A user's own file: compiled, executed, and held to the rules of `compute_loss`.

Every fault is one line that names the file, the function and the rule.
"""

from __future__ import annotations

import ast
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

STATELESS = {"torch", "torch.nn", "torch.nn.functional", "math", "typing", "__future__"}
"""Modules in which a loss keeps nothing."""


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


def keeps_state(text: str) -> bool:
    """Say whether a file may keep anything from one call to the next.

    It surely keeps nothing if it is made of imports, plain functions and constants, and its
    functions reach for nothing outside themselves; whatever else is in it may be state.
    """
    tree = ast.parse(text.removeprefix("\ufeff"))
    return not all(map(_is_inert, tree.body)) or any(map(_reaches_out, ast.walk(tree)))


def _reaches_out(node: ast.AST) -> bool:
    """Whether this part of a function may change what outlives a call."""
    if isinstance(node, ast.Attribute | ast.Subscript):
        return not isinstance(node.ctx, ast.Load)
    doors = {"globals", "vars", "setattr", "exec", "eval"}
    return isinstance(node, ast.Global) or (isinstance(node, ast.Name) and node.id in doors)


def _is_inert(statement: ast.stmt) -> bool:
    if isinstance(statement, ast.FunctionDef):
        defaults = [*statement.args.defaults, *filter(None, statement.args.kw_defaults)]
        return not statement.decorator_list and all(map(_is_constant, defaults))
    if isinstance(statement, ast.Assign | ast.AnnAssign | ast.Expr):
        return statement.value is None or _is_constant(statement.value)
    if isinstance(statement, ast.ImportFrom):
        return statement.module in STATELESS
    return isinstance(statement, ast.Import) and all(
        alias.name in STATELESS for alias in statement.names
    )


def _is_constant(value: ast.expr) -> bool:
    if isinstance(value, ast.Tuple):
        return all(map(_is_constant, value.elts))
    operand = value.operand if isinstance(value, ast.UnaryOp) else value
    return isinstance(operand, ast.Constant)


@contextmanager
def guarded(name: str, doing: str) -> Iterator[None]:
    """Name the file and its line in what it raises, and keep what it prints off the results.

    Memory that runs out is passed on as it is: whoever drives the run may try again.

    Args:
        name: The file's.
        doing: What raised, as in "compute_loss raised".
    """
    try:
        with redirect_stdout(sys.stderr):
            yield
    except (Exception, SystemExit) as error:
        if is_out_of_memory(error):
            raise
        lines = [
            line
            for frame, line in traceback.walk_tb(error.__traceback__)
            if frame.f_code.co_filename == name
        ]
        where = f"{name}, line {lines[-1]}" if lines else name
        what = textwrap.shorten(f"{type(error).__name__}: {error}", 300)
        raise LossError(f"{where}: {doing} {what}") from error


def is_out_of_memory(error: BaseException) -> bool:
    """Say whether memory ran out, of the device or of the host."""
    import torch

    if isinstance(error, MemoryError | torch.OutOfMemoryError):
        return True
    # torch has no type for it where it allocates for a CPU.
    return isinstance(error, RuntimeError) and "can't allocate memory" in str(error)


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
