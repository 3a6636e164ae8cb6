"""Which seeds a study's phases take."""

from itertools import combinations

import pytest

from studies.definition import EVALUATION_SEEDS, StudyDefinition
from studies.reading import parse
from tests.studies.test_definition import said, search


def everybodys_seeds(definition: StudyDefinition) -> list[set[int]]:
    rungs = [set(definition.control_seeds(rung)) for rung in range(len(definition.rungs))]
    return [*rungs, set(definition.baseline_seeds()), set(EVALUATION_SEEDS)]


@pytest.mark.parametrize(
    ("seeds", "controls", "later"), [(1, 8, 1), (3, 8, 12), (20, 8, 900), (500, 500, 900)]
)
def test_no_seed_serves_twice(seeds: int, controls: int, later: int) -> None:
    rung = f"[[ladder]]\nepochs = 2\nseeds = {later}\nkeep = 1\n"
    text = search(f"seeds = {seeds}\ncontrols = {controls}") + rung * 2
    definition = parse(text, source="mine.toml")
    for one, another in combinations(everybodys_seeds(definition), 2):
        assert not one & another


def test_candidates_stand_beside_controls_of_their_own_seeds() -> None:
    definition = parse(search("seeds = 10\ncontrols = 8"), source="mine.toml")
    assert definition.control_seeds(0) == definition.seeds(0) == list(range(2001, 2011))
    assert len(definition.baseline_seeds()) == 10


def test_more_seeds_than_a_rung_has_are_refused() -> None:
    assert "search.seeds: input should be less than or equal to 500" in said(search("seeds = 501"))
    assert "search.controls: input should be less" in said(search("controls = 501"))
