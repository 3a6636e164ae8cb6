import ast
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from losses import LossSpec, Schedule, families, published
from losses.export import source

PYPROJECT = Path(__file__).parents[2] / "pyproject.toml"

EVERYTHING = LossSpec(
    "composite",
    {
        "m": 0.5,
        "tau": Schedule("linear", 1.5, 1.0),
        "eps": Schedule("cosine", 0.1, 0.0),
        "gamma": Schedule("linear", 0.0, 2.0),
        "kappa": Schedule("switch", 0.7, 0.0, at=0.3),
        "a1": -0.5,
        "a2": 1.0,
        "beta": 0.1,
        "lam": 1e-5,
        "mu": Schedule("linear", 0.1, 0.2),
        "scale": 2.0,
    },
    class_scaled=True,
)

FOCAL = '''\
"""LosScout loss a112d7ab2ebb, study cifar100, trial 17.

    loss = (1 - p_y)^2 * -ln p_y

z are the logits, y is the label, p = softmax(z) unless said otherwise, H is the entropy, K the
number of classes, and [k = y] is 1 for the label and 0 for every other class.
"""

import math

import torch
import torch.nn.functional as F

GAMMA = 2.0


def compute_loss(logits, targets, config):
    """Return the mean loss of a batch in nats.

    Args:
        logits: Logits, shape [B, K].
        targets: Labels, shape [B].
        config: A mapping with "num_classes", "epoch" (counted from 0) and "total_epochs".
    """
    z = logits.to(torch.promote_types(logits.dtype, torch.float32))
    log_p = F.log_softmax(z, dim=1)
    loss = F.cross_entropy(z, targets, reduction="none")
    # ln(1 - p_y) from the other classes, exact however close p_y comes to 1
    others = log_p.scatter(1, targets[:, None], -math.inf)
    log_miss = torch.logsumexp(others, dim=1)
    loss = torch.exp(GAMMA * log_miss) * loss
    return loss.mean()
'''


def body(text):
    """Return the lines of compute_loss behind its docstring."""
    function = ast.parse(text).body[-1]
    return [ast.unparse(statement) for statement in function.body[1:]]


def test_an_exported_module_reads_like_a_person_wrote_it():
    assert source(published()["focal"], study="cifar100", trial=17) == FOCAL


@pytest.mark.parametrize(
    ("name", "last_line"),
    [
        ("cross_entropy", "return F.cross_entropy(z, targets)"),
        ("label_smoothing", "return F.cross_entropy(z, targets, label_smoothing=EPS)"),
        ("temperature", "return F.cross_entropy(u, targets)"),
    ],
)
def test_what_torch_has_is_left_to_torch(name, last_line):
    assert body(source(published()[name]))[-1] == last_line


def test_nothing_unused_is_left_in_it():
    text = source(LossSpec("penalty", {"lam": 0.01}))
    for word in ("math", "progress", "log_p", "scatter", "scale", "EPS"):
        assert word not in text


def moving(family):
    """Return the spec whose parameters all move over their ranges."""
    return LossSpec(
        family.name, {r.name: Schedule("cosine", r.low, r.high) for r in family.parameters}
    )


CLEAN = {
    **published(),
    "everything": EVERYTHING,
    **{f"{name} moving": moving(family) for name, family in families().items()},
}


@pytest.mark.parametrize("spec", CLEAN.values(), ids=CLEAN)
def test_an_exported_module_is_clean_and_needs_torch_alone(spec, tmp_path):
    text = source(spec, study="a study", trial=0)
    imported = {
        name.name.split(".")[0]
        for node in ast.walk(ast.parse(text))
        if isinstance(node, ast.Import)
        for name in node.names
    }
    assert imported <= {"math", "torch"}
    path = tmp_path / "found_loss.py"
    path.write_text(text)
    for command in (["check"], ["format", "--check"]):
        ruff = [sys.executable, "-m", "ruff", *command, "--no-cache", "--config", PYPROJECT, path]
        result = subprocess.run(ruff, capture_output=True, text=True, check=False)
        assert result.returncode == 0, result.stdout


@pytest.mark.parametrize("study", ['"""', "\\", "a\nb", "\\N{x}", "naïve", "{formula}", '\'"""\''])
def test_no_name_of_a_study_breaks_the_module(study):
    namespace = {}
    exec(source(LossSpec(), study=study, trial=1), namespace)
    logits_BK = torch.randn(4, 10)
    loss = namespace["compute_loss"](logits_BK, torch.arange(4), {})
    assert torch.equal(loss, torch.nn.functional.cross_entropy(logits_BK, torch.arange(4)))
    assert "trial 1." in namespace["__doc__"]
