"""A user's own file: what is refused and how, and what works."""

import json
import pickle
import subprocess
import sys
import textwrap
from copy import copy
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F

from losses import CustomLoss, LossError, export, load, published

STATELESS = """
def compute_loss(logits, targets, config):
    log_p = F.log_softmax(logits, dim=1)
    return F.nll_loss(log_p, targets) + 0.01 * log_p.exp().pow(2).sum(1).mean()
"""

COUNTING = """
import torch.nn.functional as F

seen = {"calls": 0, "epochs": []}

def compute_loss(logits, targets, config):
    seen["calls"] += 1
    if config["epoch"] not in seen["epochs"]:
        seen["epochs"].append(config["epoch"])
    return F.cross_entropy(logits, targets) * seen["calls"]
"""

LEARNED = """
from __future__ import annotations

import torch
from torch import nn

class Prior(nn.Module):
    def __init__(self, num_classes: int) -> None:
        super().__init__()
        self.register_buffer("mean", torch.zeros(num_classes))

    def forward(self, logits, targets, progress):
        self.mean.lerp_(logits.detach().mean(0), 0.1)
        return nn.functional.cross_entropy(logits - progress * self.mean, targets)

prior = None

def compute_loss(logits: torch.Tensor, targets: torch.Tensor, config: dict) -> torch.Tensor:
    global prior
    if prior is None:
        prior = Prior(config["num_classes"]).to(logits.device)
    return prior(logits, targets, config["epoch"] / config["total_epochs"])
"""

WORKING = {
    "stateless": STATELESS,
    "counting": COUNTING,
    "learned": LEARNED,
    "in place": "def compute_loss(z, y, c):\n    return F.cross_entropy(z.mul_(2), y)",
    "an object": "compute_loss = lambda logits, targets, *rest: F.cross_entropy(logits, targets)",
    "marked": "\ufeff" + STATELESS,
    "dos": STATELESS.replace("\n", "\r\n"),
}

PLAIN = "def compute_loss(z, y, c):\n    return F.cross_entropy(z, y)\n"

STATE = {
    "plain": (STATELESS, False),
    "exported": (export.source(published()["maxsup"]), False),
    "constants": ("SCALE, SHIFT = -2.0, (1, 2)\nNAME: str = 'x'\n" + PLAIN, False),
    "inner function": (PLAIN.replace("    return", "    f = lambda x: x\n    return"), False),
    "marked": ("\ufeff" + PLAIN, False),
    "counting": (COUNTING, True),
    "learned": (LEARNED, True),
    "class": ("class A:\n    n = 0\n" + PLAIN, True),
    "tensor": ("offset = torch.zeros(10)\n" + PLAIN, True),
    "mutable default": (PLAIN.replace("c)", "c, seen=[])"), True),
    "keyword default": (PLAIN.replace("c)", "*c, seen={})"), True),
    "decorated": ("def same(f):\n    return f\n\n@same\n" + PLAIN, True),
    "attribute": (PLAIN.replace("    return", "    compute_loss.n = 1\n    return"), True),
    "by name": (PLAIN.replace("    return", "    globals().update(n=1)\n    return"), True),
    "other module": ("import numpy\n" + PLAIN, True),
    "from another module": ("from numpy import random\n" + PLAIN, True),
    "branch": ("if True:\n    n = [0]\n" + PLAIN, True),
}

UNREADABLE = {
    b"\xff\xfe": "loss.py cannot be read: it is not UTF-8 text",
    b"#" * 1_000_001: "loss.py must have at most 1000000 bytes",
    b"x = 1\ndef compute_loss(:": "loss.py, line 2: syntax error",
    b"x = 1\x00": "loss.py",
    b"": "loss.py must define compute_loss(logits, targets, config)",
    b"compute_loss = 3": "loss.py must define compute_loss(logits, targets, config)",
    b"def compute_loss(logits, targets): ...": "must take (logits, targets, config): too many",
    b"def compute_loss(a, b, c, d): ...": "must take (logits, targets, config): missing",
    b"def compute_loss(a, b, *, config): ...": "must take (logits, targets, config)",
    b"import torch\nimport nosuch_module": "loss.py, line 2: raised ModuleNotFoundError",
    b"\nraise SystemExit(0)": "loss.py, line 2: raised SystemExit: 0",
}

FAULTY = {
    "return 1 / 0": "loss.py, line 2: compute_loss raised in epoch 0 of 5: ZeroDivisionError",
    "raise ValueError('two\\nlines')": "ValueError: two lines",
    "return config['gamma']": "KeyError: 'gamma'",
    "raise SystemExit": "compute_loss raised in epoch 0 of 5: SystemExit",
    "return None": "compute_loss must return a tensor but got NoneType",
    "return 0.5": "compute_loss must return a tensor but got float",
    "return logits": "compute_loss must return a scalar but got shape [8, 10]",
    "return F.cross_entropy(logits, targets, reduction='none')": "a scalar but got shape [8]",
    "return logits.sum().to('meta')": "a tensor on cpu but got one on meta",
    "return targets.sum()": "a real number but got torch.int64",
    "return F.cross_entropy(logits, targets).detach()": "does not require grad in epoch 0 of 5",
    "return torch.zeros((), requires_grad=True)": "depends on the logits",
    "return logits.sum() * float('nan')": "a finite number but got nan in epoch 0 of 5",
    "return logits.exp().sum() * float('inf')": "a finite number but got inf",
    "return logits.sub(logits).sum().sqrt()": "a finite gradient",
    "x = logits.exp(); x.add_(1); return x.sum()": "the gradient of compute_loss raised",
    "return logits.sum() * (1 // (4 - config['epoch']))": "compute_loss raised in epoch 4 of 5",
    "return logits.sum() if config['epoch'] < 4 else 0": "a tensor but got int in epoch 4 of 5",
}


def function(body: str) -> str:
    return f"def compute_loss(logits, targets, config):\n    {body}\n"


def check(text: str, **changes) -> None:
    CustomLoss("loss.py", text).check(
        **({"num_classes": 10, "total_epochs": 5, "device": "cpu"} | changes)
    )


def batch(num_classes: int = 10) -> tuple[torch.Tensor, torch.Tensor]:
    return torch.randn(8, num_classes, requires_grad=True) * 1, torch.randint(num_classes, (8,))


def called(loss: CustomLoss, epoch: int = 0) -> float:
    generator = torch.Generator().manual_seed(1)
    logits_BK = torch.randn(8, 10, generator=generator).requires_grad_() * 1
    values = loss.values(epoch, 5, 10)
    return loss(logits_BK, torch.arange(8), torch.tensor(values)).item()


@pytest.mark.parametrize("content", UNREADABLE, ids=range(len(UNREADABLE)))
def test_what_cannot_be_a_loss_is_refused_when_it_is_read(tmp_path: Path, content: bytes):
    path = tmp_path / "loss.py"
    path.write_bytes(content)
    with pytest.raises(LossError) as caught:
        CustomLoss.read(path)
    assert UNREADABLE[content] in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", ["missing.py", "folder.py"])
def test_what_is_no_file_is_refused(tmp_path: Path, name: str):
    (tmp_path / "folder.py").mkdir()
    with pytest.raises(LossError, match=rf"{name} cannot be read: "):
        CustomLoss.read(tmp_path / name)


@pytest.mark.parametrize("body", FAULTY)
def test_a_fault_is_one_line_with_the_file_the_function_and_the_rule(body: str):
    with pytest.raises(LossError) as caught:
        check(function(body))
    line = str(caught.value)
    assert FAULTY[body] in line
    assert line.startswith("loss.py")
    assert "compute_loss" in line
    assert "\n" not in line


@pytest.mark.parametrize("text", WORKING.values(), ids=WORKING)
@pytest.mark.parametrize("num_classes", [2, 100])
@pytest.mark.parametrize("total_epochs", [1, 200])
def test_what_works_passes(tmp_path: Path, text: str, num_classes: int, total_epochs: int):
    path = tmp_path / "loss.py"
    path.write_bytes(text.encode())
    loss = CustomLoss.read(path)
    loss.check(num_classes=num_classes, total_epochs=total_epochs, device="cpu")
    assert (loss.name, loss.text) == ("loss.py", text)


def test_the_check_leaves_torch_and_the_loss_as_they_were():
    loss = CustomLoss("loss.py", COUNTING + "torch.manual_seed(5)\n")
    before = torch.get_rng_state()
    loss.check(num_classes=10, total_epochs=5, device="cpu")
    assert torch.equal(torch.get_rng_state(), before)
    assert called(loss) == called(copy(loss))


def test_the_example_in_the_readme_works():
    readme = (Path(__file__).parents[2] / "README.md").read_text(encoding="utf-8")
    lines = readme.split("    def compute_loss", 1)[1].split("\n\n", 1)[0]
    check(textwrap.dedent("    def compute_loss" + lines), num_classes=100)


def test_the_value_is_the_files():
    logits_BK, labels_B = batch()
    loss = CustomLoss("loss.py", function("return F.cross_entropy(logits, targets)"))
    config = {"num_classes": 10, "epoch": 3, "total_epochs": 5}
    assert loss.compute_loss(logits_BK, labels_B, config) == F.cross_entropy(logits_BK, labels_B)


def test_the_file_is_told_the_epoch():
    body = "return logits.sum() * 0 + config['epoch'] + 10 * config['total_epochs']"
    loss = CustomLoss("loss.py", function(body))
    assert loss.values(0, 5, 10) == ()
    assert [called(loss, epoch) for epoch in (0, 3)] == [50, 53]


def test_state_lasts_within_a_loss_and_never_leaks_into_a_copy():
    loss = CustomLoss("loss.py", COUNTING)
    first, second = called(loss), called(loss)
    assert second == pytest.approx(2 * first)
    for other in (copy(loss), pickle.loads(pickle.dumps(loss)), load(loss.to_json())):
        assert other == loss
        assert hash(other) == hash(loss)
        assert called(other) == first
    assert called(loss) == pytest.approx(3 * first)


def test_what_a_file_prints_stays_off_stdout(capsys):
    body = "print('hello'); return logits.sum()"
    called(CustomLoss("loss.py", "print('at the top')\n" + function(body)))
    out, err = capsys.readouterr()
    assert out == ""
    assert err.splitlines() == ["at the top", "hello"]


def test_memory_that_runs_out_is_no_fault_of_the_file():
    with pytest.raises(torch.OutOfMemoryError):
        check(function("raise torch.OutOfMemoryError('full')"))


def test_a_loss_is_named_by_what_stands_in_it():
    first, renamed = CustomLoss("a.py", STATELESS), CustomLoss("b.py", STATELESS)
    assert first.id == renamed.id
    assert repr(first) == repr(renamed)
    assert len(first.id) == 12
    assert CustomLoss("a.py", LEARNED).id != first.id
    assert (first.label, first.formula) == ("a.py", "compute_loss of a.py")
    assert first.structure is None


def test_the_json_form_is_canonical_and_read_without_being_executed():
    loss = CustomLoss("loss.py", "raise SystemExit('executed') # \u00e4 \U0001f600")
    assert json.loads(loss.to_json()) == {"custom": {"name": "loss.py", "text": loss.text}}
    assert load(loss.to_json()) == CustomLoss.from_json(loss.to_json()) == loss
    assert load(loss.to_json()).to_json() == loss.to_json()


def test_load_reads_specs_too():
    focal = published()["focal"]
    assert load(focal.to_json()) == focal


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('{"custom": 3}', "custom must be an object"),
        ('{"custom": {"name": "a"}}', "needs the key 'text'"),
        ('{"custom": {"name": "a", "text": 3}}', "text of custom must be text but got 3"),
        ('{"custom": {"name": "a", "text": "", "more": 1}}', "unknown key 'more'"),
        ("[]", "must be an object"),
        ("nonsense", "must be JSON"),
    ],
)
def test_other_json_is_refused(text: str, message: str):
    with pytest.raises(LossError, match=message):
        load(text)


def test_stored_files_are_shown_without_torch():
    text = json.dumps(CustomLoss("a.py", STATELESS).to_json())
    code = f"import sys, losses; losses.load({text}).formula; print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "False\n"


@pytest.mark.parametrize(("text", "may"), STATE.values(), ids=STATE)
def test_a_file_that_may_keep_state_is_known(text: str, may: bool) -> None:
    loss = CustomLoss("loss.py", text)
    loss.check(num_classes=10, total_epochs=2, device="cpu")
    assert loss.keeps_state is may
