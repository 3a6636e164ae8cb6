"""A user's prior: losses that become the next trials."""

import sys
from pathlib import Path

import pytest

from losses import LossSpec, published
from search import queueing
from search.cli import main
from search.opening import open_optuna_study
from studies.errors import StudyError
from studies.reading import parse
from studies.view import trials_of
from tests.search import conftest

GUESS = LossSpec("composite", {"gamma": 1.5, "eps": 0.05})
START = """
[[start]]
loss = { family = "composite", parameters = { gamma = 1.5, eps = 0.05 } }
[[start]]
loss = "poly1"
"""


def test_start_tables_come_right_after_the_baselines_and_once(home):
    text = conftest.TINY + START
    definition = parse(text, source="tiny.toml")
    home.run(definition, text, total=4)
    home.run(definition, text, total=6)
    trials = trials_of(home.database, "tiny")
    assert [trial.user_attrs.get("baseline") for trial in trials[:4]] == [
        "cross_entropy", "label_smoothing", "focal", "poly1",
    ]  # fmt: skip
    assert LossSpec.from_dict(trials[4].user_attrs["spec"]) == GUESS
    assert [trial.user_attrs.get("start") for trial in trials[4:]] == [GUESS.label, None]


def test_the_best_of_another_study_opens_this_one(home, tiny):
    home.run(tiny, total=4)
    text = conftest.TINY.replace('"tiny"', '"next"') + '[[start]]\nstudy = "tiny"\ntop = 1\n'
    definition = parse(text, source="next.toml")
    (best,) = queueing.best_of("tiny", 1, home.database)
    assert queueing.starts(definition, home.database) == [best]
    home.run(definition, text, total=5)
    specs = [LossSpec.from_dict(t.user_attrs["spec"]) for t in trials_of(home.database, "next")]
    assert best.spec in specs


@pytest.mark.parametrize(
    ("tables", "fault"),
    [
        ('[[start]]\nloss = "bi_tempered"', "bi_tempered must lie inside the space of study"),
        (
            '[[start]]\nloss = { family = "composite", parameters = { gamma = 9 } }',
            "gamma 9 must lie inside the space of study 'tiny'",
        ),
        ('[[start]]\nstudy = "never"', "study 'never' was never started here"),
    ],
)
def test_a_loss_that_the_study_could_not_draw_is_told_before_it_begins(home, tables, fault):
    text = f"{conftest.TINY}\n{tables}"
    with pytest.raises(StudyError, match=fault):
        home.run(parse(text, source="tiny.toml"), text)
    assert trials_of(home.database, "tiny") == []


@pytest.fixture
def losscout(home, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """The command on the database of `home`, which holds a study of two trials."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "tiny.toml").write_text(conftest.TINY)
    (tmp_path / "mine.py").write_text("def compute_loss(z, y, c):\n    return z.sum()\n")
    home.run(parse(conftest.TINY, source="tiny.toml"), total=2)

    def run(*command: str) -> int:
        storage = ["--storage", f"sqlite:///{home.database.path}"]
        monkeypatch.setattr(sys, "argv", ["losscout", *command, *storage])
        with pytest.raises(SystemExit) as end:
            main()
        return int(end.value.code or 0)

    return run


def test_enqueued_losses_are_the_next_trials(home, tiny, losscout, capsys):
    assert losscout("enqueue", "tiny.toml", GUESS.to_json(), "label_smoothing") == 0
    assert losscout("enqueue", "tiny.toml", GUESS.to_json()) == 0
    assert capsys.readouterr().out.splitlines() == [
        f"{GUESS.label}: a next trial",
        "label_smoothing: there already",
        f"{GUESS.label}: there already",
    ]
    home.run(tiny, total=5)
    trials = trials_of(home.database, "tiny")
    assert len(trials) == 5
    assert LossSpec.from_dict(trials[4].user_attrs["spec"]) == GUESS


def test_a_running_study_takes_what_is_enqueued_meanwhile(home, tiny):
    study = open_optuna_study(home.database.storage, "tiny")

    def enqueue(update) -> None:
        if (update.number, update.state) == (1, "complete"):
            spec = published()["label_smoothing"]
            assert queueing.enqueue(study, tiny, [queueing.Queued("again", spec)]) == []
            queued = [queueing.Queued("mine", GUESS)]
            assert queueing.enqueue(study, tiny, queued) == queued

    home.watcher.on_update = enqueue
    home.run(tiny, total=5)
    assert LossSpec.from_dict(trials_of(home.database, "tiny")[4].user_attrs["spec"]) == GUESS


@pytest.mark.parametrize(
    ("command", "fault"),
    [
        (("enqueue", "tiny.toml"), "LOSS or --from must name a loss"),
        (("enqueue", "tiny.toml", "ngl"), "ngl must lie inside the space of study 'tiny'"),
        (("enqueue", "tiny.toml", "mine.py"), "mine.py must lie inside the space"),
        (("enqueue", "tiny.toml", "--from", "quickstart"), "study 'quickstart' was never started"),
    ],
)
def test_what_cannot_be_enqueued_is_told_in_one_line(losscout, capsys, command, fault):
    assert losscout(*command) == 2
    out, err = capsys.readouterr()
    assert (out, err.count("\n")) == ("", 1)
    assert fault in err
