import pytest

from search.promotion import Promotion
from search.runs import TrialUpdate
from search.tuning import toml, tuned_study
from studies.reading import parse, read, shipped
from studies.view import StudyView, trials_of
from tests.search import conftest

TUNED = conftest.TINY.replace("trials = 6", "trials = 3") + (
    "[promotion]\nautomatic = true\nepochs = 1\nseeds = [42, 123]\nagainst = []\n"
    "scales = []\nscale_matched = false\ntuned = true\n"
)
OWN = """
[[benchmarks]]
name = "mine"
architecture = "resnet"
blocks = [1, 1, 1]
width = 8
data = "digits"
mean = [0.5]
std = [0.25]
flip = false
"""


@pytest.mark.parametrize("name", [*shipped(), "tiny"])
def test_a_definition_survives_as_text(name, tiny):
    definition = tiny if name == "tiny" else read(name)[0]
    assert parse(toml(definition), source="other.toml") == definition
    tuned = tuned_study(definition)
    assert parse(toml(tuned), source="other.toml") == tuned


def test_strings_and_benchmarks_survive_as_text():
    text = 'description = "\\"a\\" ü \\n b"\n' + conftest.TINY + OWN
    definition = parse(text, source="tiny.toml")
    assert definition.description == '"a" ü \n b'
    assert definition.benchmarks[0].blocks == [1, 1, 1]
    assert parse(toml(definition), source="tiny.toml") == definition


def test_only_the_space_is_another(tiny):
    tuned = tuned_study(tiny)
    assert (tuned.name, tuned.space.family) == ("tiny-smoothing", ["smoothing"])
    assert (tuned.search, tuned.ladder, tuned.pruner) == (tiny.search, tiny.ladder, tiny.pruner)


def test_label_smoothing_is_tuned_before_the_promotion_also_when_interrupted(home):
    definition = parse(TUNED, source="tiny.toml")

    def interrupt(update: TrialUpdate) -> None:
        begun = "tuned baseline: study tiny-smoothing, at most" in " ".join(home.watcher.notes)
        if begun and update.number == 2:
            home.watcher.on_update = lambda update: None
            raise KeyboardInterrupt

    home.watcher.on_update = interrupt
    with pytest.raises(KeyboardInterrupt):
        home.run(definition, TUNED)
    assert list(StudyView.load(home.database, definition).rows) == []
    home.run(definition, TUNED)

    assert len(trials_of(home.database, "tiny-smoothing")) == 3
    view = StudyView.load(home.database, definition)
    (tuned,) = (row for row in view.rows if row.label.startswith("tuned label smoothing (eps "))
    assert set(tuned.spec.parameters) == {"eps"}
    assert tuned.spec.id in view.claim.losses
    assert len(view.trials) == 4  # the baselines, of which three were to be tried

    home.promote(definition, Promotion(seeds=[456]))
    (tuned,) = (
        row
        for row in StudyView.load(home.database, definition).rows
        if row.label.startswith("tuned label smoothing")
    )
    assert list(tuned.final) == [42, 123, 456]
