"""A loss as the source of a module that needs torch alone."""

from __future__ import annotations

import textwrap

from losses import wording
from losses.catalogue import families
from losses.schedules import Schedule
from losses.spec import LossSpec

MODULE = '''\
"""{title}

{formula}

z are the logits, y is the label, p = softmax(z) unless said otherwise, H is the entropy, K the
number of classes, and [k = y] is 1 for the label and 0 for every other class.
"""

{imports}

{constants}
def compute_loss(logits, targets, config):
    """Return the mean loss of a batch in nats.

    Args:
        logits: Logits, shape [B, K].
        targets: Labels, shape [B].
        config: A mapping with "num_classes", "epoch" (counted from 0) and "total_epochs".
    """
{body}
'''

Lines = list[str]


def source(spec: LossSpec, *, study: str | None = None, trial: int | None = None) -> str:
    """Return the text of a module with `compute_loss(logits, targets, config)`.

    Its values and gradients are those of `spec.compute_loss`; what is neutral is not in it.

    Args:
        spec: The loss.
        study: The name of the study that found it, for the docstring.
        trial: The number of the trial that found it, for the docstring.
    """
    constants = [line for name in spec.parameters for line in constant(spec, name)]
    symbols, setup = moving_values(spec)
    widen = "z = logits.to(torch.promote_types(logits.dtype, torch.float32))"
    body = [*setup, widen, *families()[spec.family].python(symbols)]
    text = "\n".join(body)
    return MODULE.format(
        title=title(spec, study, trial),
        formula=indented(textwrap.wrap("loss = " + spec.formula, 95, break_on_hyphens=False)),
        imports="import math\n\n" * ("math." in text)
        + "import torch\nimport torch.nn.functional as F",
        constants="\n".join([*constants, "", ""]) if constants else "",
        body=indented(body),
    )


def title(spec: LossSpec, study: str | None, trial: int | None) -> str:
    """Return the first line of the docstring: which loss this is and where it was found."""
    origin = [f"LosScout loss {spec.id}"]
    if study is not None:
        # ascii() leaves no character that could end the docstring or the line
        name = ascii(study)[1:-1].replace("\\", "\\\\").replace('"', '\\"')
        origin.append(f"study {name}")
    if trial is not None:
        origin.append(f"trial {trial}")
    return ", ".join(origin) + "."


def constant(spec: LossSpec, name: str) -> Lines:
    """Return the module's constants for a parameter."""
    value = spec.parameters[name]
    if not isinstance(value, Schedule):
        return [f"{name.upper()} = {value!r}"]
    ends = f"{name.upper()}_START, {name.upper()}_END = {value.start!r}, {value.end!r}"
    return [ends] if value.at is None else [ends, f"{name.upper()}_SWITCH = {value.at!r}"]


def moving_values(spec: LossSpec) -> tuple[dict[str, str], Lines]:
    """Return a Python expression for each parameter, and the lines that these rest on."""
    moving = wording.moving_ranges(spec)
    symbols = {name: name if name in moving else name.upper() for name in spec.parameters}
    shapes = {v.shape for v in spec.parameters.values() if isinstance(v, Schedule)}
    lines = []
    if shapes:
        lines.append('progress = config["epoch"] / max(config["total_epochs"] - 1, 1)')
    if "cosine" in shapes:
        lines.append("cosine = (1 - math.cos(math.pi * progress)) / 2")
    if spec.class_scaled:
        lines.append('s = math.log(config["num_classes"]) / math.log(100)')
    for name, range_ in moving.items():
        value, unscaled = spec.parameters[name], name.upper()
        if isinstance(value, Schedule):
            lines.append(f"{name} = {moved(unscaled, value)}")
            unscaled = name
        if factor := wording.class_factor(spec, range_, times=" * s", power="**s"):
            lines.append(f"{name} = {unscaled}{factor}")
    return symbols, lines


def moved(constant: str, schedule: Schedule) -> str:
    """Return the expression of a schedule's value at `progress`."""
    start, end = f"{constant}_START", f"{constant}_END"
    if schedule.shape == "switch":
        return f"{end} if progress >= {constant}_SWITCH else {start}"
    done = {"linear": "progress", "cosine": "cosine"}[schedule.shape]
    return f"(1 - {done}) * {start} + {done} * {end}"


def indented(lines: Lines) -> str:
    """Return the lines as one block, indented by one level."""
    return "\n".join("    " + line for line in lines)
