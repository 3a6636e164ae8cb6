from __future__ import annotations

import tomllib
from pathlib import Path

import pytest

from studies.errors import StudyError
from studies.reading import parse, read, shipped

LEAST = """
[search]
benchmarks = ["resnet8-digits"]
trials = 8
epochs = 2
[space]
family = "composite"
"""


OWN = """
[[benchmarks]]
name = "mine"
architecture = "nets:build"
data = "./images"
"""


def search(lines: str) -> str:
    return LEAST.replace("epochs = 2", f"epochs = 2\n{lines}")


def space(family: str) -> str:
    return LEAST.replace('"composite"', family)


def said(text: str) -> str:
    with pytest.raises(StudyError) as caught:
        parse(text, source="mine.toml")
    return str(caught.value)


@pytest.mark.parametrize("name", list(shipped()))
def test_shipped_definitions_are_correct(name: str) -> None:
    definition, text = read(name)
    assert definition.name == name
    assert text == shipped()[name].read_text()


def test_the_quick_start_ships() -> None:
    assert "quickstart" in shipped()


def test_the_least_definition_is_named_after_its_file(tmp_path: Path) -> None:
    path = tmp_path / "first-try.toml"
    path.write_text(LEAST)
    definition, text = read(str(path))
    assert (definition.name, text) == ("first-try", LEAST)
    assert len(definition.rungs) == 1


@pytest.mark.parametrize("number", ["1", "0", "0.5"])
def test_a_part_may_be_written_as_a_whole_number(number: str) -> None:
    definition = parse(f"{LEAST}[pruner]\nwarmup = {number}", source="mine.toml")
    assert definition.pruner.warmup == float(number)


def test_a_hidden_benchmark_may_be_promoted_on() -> None:
    text = f'{LEAST}[promotion]\nbenchmarks = ["mobilenetv2-fmnist"]'
    assert parse(text, source="mine.toml").promotion.benchmarks == ["mobilenetv2-fmnist"]


@pytest.mark.parametrize(
    "text",
    [
        space('"tempered"\nparameters = ["t1"]'),
        space('"active_passive"\nparameters = ["b", "a"]\nschedules = ["a"]'),
        space('["composite", "sigmoid"]\nschedules = ["composite.gamma", "sigmoid.a"]'),
        space('["squentropy", "focal"]\nparameters = ["squentropy.c", "focal.gamma"]'),
        space('"composite"\nshapes = []'),
        space('"curriculum"\nschedules = []\nshapes = []'),
        space('"curriculum"\nparameters = ["gamma"]'),
    ],
)
def test_a_space_may_be(text: str) -> None:
    read_back = parse(text, source="mine.toml").space.model_dump(mode="json")
    given = tomllib.loads(text)["space"]
    for key in given.keys() - {"family"}:
        assert read_back[key] == given[key]


def test_one_family_may_be_written_as_a_list() -> None:
    one, same = (parse(space(f), source="mine.toml") for f in ('"focal"', '["focal"]'))
    assert one.differences(same) == []


KEYS = [
    # unknown and missing
    (search("epoch = 3"), "search.epoch: is no key of a study (got 3)"),
    (f"{LEAST}[serch]\nx = 1", "serch: is no key of a study (got {'x': 1})"),
    (search('"a\\nb" = 1'), "search.'a\\nb': is no key of a study (got 1)"),
    (LEAST.replace("trials = 8", ""), "search.trials: is required"),
    ('[space]\nfamily = "composite"', "search: is required"),
    ("", "search: is required"),
    (f"{LEAST}[[ladder]]\nepochs = 1\nseeds = 1", "ladder[0].keep: is required"),
    # wrong types
    (LEAST.replace("= 8", '= "8"'), "search.trials: input should be a valid integer (got '8')"),
    (LEAST.replace("8\n", "true\n"), "search.trials: input should be a valid integer (got True)"),
    (LEAST.replace("8\n", "8.0\n"), "search.trials: input should be a valid integer (got 8.0)"),
    ("search = 3", "search: input should be a valid dictionary or instance of Search (got 3)"),
    (f"{LEAST}[ladder]\nkeep = 1", "ladder: input should be a valid list (got {'keep': 1})"),
    (f"{LEAST}class_scaled = 1", "space.class_scaled: input should be a valid boolean (got 1)"),
    (f'{LEAST}parameters = "m"', "space.parameters: input should be a valid list (got 'm')"),
    (f"description = 3{LEAST}", "description: input should be a valid string (got 3)"),
    (
        f'{LEAST}[pruner]\nwarmup = "0.5"',
        "pruner.warmup: input should be a valid number (got '0.5')",
    ),
    (
        f"{LEAST}[pruner]\nwarmup = true",
        "pruner.warmup: input should be a valid number (got True)",
    ),
    # numbers out of range
    (
        LEAST.replace("8\n", "0\n"),
        "search.trials: input should be greater than or equal to 1 (got 0)",
    ),
    (
        LEAST.replace("8\n", f"{2**31}\n"),
        f"search.trials: input should be less than or equal to {2**31 - 1} (got {2**31})",
    ),
    (
        LEAST.replace("epochs = 2", "epochs = -1"),
        "search.epochs: input should be greater than or equal to 1 (got -1)",
    ),
    (search("seeds = 0"), "search.seeds: input should be greater than or equal to 1 (got 0)"),
    (search("keep = 0"), "search.keep: input should be greater than or equal to 1 (got 0)"),
    (
        search("controls = 7"),
        "search.controls: input should be greater than or equal to 8 (got 7)",
    ),
    (search("seed = -1"), "search.seed: input should be greater than or equal to 0 (got -1)"),
    (
        f"{LEAST}[pruner]\nwarmup = 1.5",
        "pruner.warmup: input should be less than or equal to 1 (got 1.5)",
    ),
    (
        f"{LEAST}[pruner]\nwarmup = nan",
        "pruner.warmup: input should be less than or equal to 1 (got nan)",
    ),
    (
        f"{LEAST}[pruner]\nconfidence = 0.5",
        "pruner.confidence: input should be greater than 0.5 (got 0.5)",
    ),
    (
        f"{LEAST}[promotion]\nepochs = 0",
        "promotion.epochs: input should be greater than or equal to 1 (got 0)",
    ),
    (
        f"{LEAST}[promotion]\ncontrols = 16",
        "promotion.controls: input should be less than or equal to 15 (got 16)",
    ),
    # names
    (
        LEAST.replace("resnet8-digits", "resnet9"),
        "search.benchmarks must be among resnet8-digits, resnet20-cifar10, resnet56-cifar100, "
        "vgg16bn-cifar100, mobilenetv2-fmnist but got 'resnet9'",
    ),
    (
        f'{LEAST}[promotion]\nbenchmarks = ["resnet9"]',
        "promotion.benchmarks must be among resnet8-digits, resnet20-cifar10,",
    ),
    (
        LEAST.replace("resnet8-digits", "mobilenetv2-fmnist"),
        "search.benchmarks must not name mobilenetv2-fmnist: it is hidden, for evaluations only",
    ),
    (
        f'{LEAST}[sampler]\nname = "gp"',
        "sampler.name: must be one of tpe, qmc, random but got 'gp': it learns nothing from",
    ),
    (
        f'{LEAST}[sampler]\nname = "qmc"\nstartup = 3',
        "sampler: startup must be left out for qmc: it is an option of tpe",
    ),
    # losses to start with
    (f"{LEAST}[[start]]\ntop = 2", "start[0]: must have either loss or study"),
    (
        f'{LEAST}[[start]]\nloss = "nosuch"',
        "start[0]: loss must be one of cross_entropy, label_smoothing,",
    ),
    (
        f'{LEAST}[[start]]\nloss = {{ family = "composite", parameters = {{ eps = 2 }} }}',
        "start[0]: eps must be at least 0 and below 1 but got 2",
    ),
    # benchmarks of the user's own
    (f"{LEAST}{OWN}typo = 1", "benchmarks[0].typo: is no key of a study (got 1)"),
    (
        f"{LEAST}{OWN.replace('nets:build', 'nets')}",
        "benchmarks[0]: architecture must be one of resnet, vgg, mobilenet, or an import path "
        "'package.module:build' but got 'nets'",
    ),
    (f"{LEAST}{OWN}width = 16", "benchmarks[0]: width must be left out for an import path"),
    (f"{LEAST}{OWN}mean = [0.5, 0.5]", "benchmarks[0]: mean must be given for 1 or 3 channels"),
    (f"{LEAST}{OWN}std = [0]", "benchmarks[0]: std must be above 0"),
    (f"{LEAST}{OWN}learning_rate = 0", "benchmarks[0]: learning_rate must be above 0 and finite"),
    (f"{LEAST}{OWN.replace('mine', 'resnet8-digits')}", "benchmarks[0]: name must not be that of"),
    (f"{LEAST}{OWN}{OWN}", "benchmarks: must not name 'mine' twice"),
    (
        f"{LEAST.replace('resnet8-digits', 'mine')}{OWN}hidden = true",
        "search.benchmarks must not name mine: it is hidden",
    ),
    (LEAST.replace("composite", "composit"), "space.family: must be one of composite, margin,"),
    (
        f'{LEAST}parameters = ["nu"]',
        "space: parameters must be among those of composite (m, tau, eps, gamma, kappa, a1, a2, "
        "beta, lam, mu) but got 'nu'",
    ),
    (f'{LEAST}schedules = ["scale"]', "space: schedules must be among those of composite (m,"),
    (f"{LEAST}parameters = []", "space: parameters must name at least one parameter"),
    (
        f'{LEAST}shapes = ["sine"]',
        "space.shapes[0]: input should be 'linear', 'cosine' or 'switch' (got 'sine')",
    ),
    # spaces in which a draw would be no loss, or a key would say nothing
    (space("3"), "space.family: input should be a valid list (got 3)"),
    (space("[]"), "space.family: list should have at least 1 item"),
    (space('["focal", "focl"]'), "sigmoid but got 'focl'"),
    (space('["focal", "focal"]'), "space.family: must not name 'focal' twice"),
    (
        space('"active_passive"\nparameters = ["a"]'),
        "space: parameters must name b, which has no neutral value (got {'family': "
        "'active_passive', 'parameters': ['a']})",
    ),
    (
        space('["sigmoid", "focal"]\nparameters = ["focal.gamma"]'),
        "space: parameters must name at least one of sigmoid",
    ),
    (
        space('["sigmoid", "focal"]\nparameters = ["gamma"]'),
        "space: parameters must be among those of sigmoid, focal (sigmoid.a, focal.gamma) but got "
        "'gamma'",
    ),
    (
        space('["sigmoid", "focal"]\nschedules = ["a"]'),
        "space: schedules must be among those of sigmoid, focal (sigmoid.a, focal.gamma) but got",
    ),
    (
        f'{LEAST}parameters = ["m", "eps"]\nschedules = ["m", "tau"]',
        "space: schedules must be among parameters (m, eps) but got 'tau'",
    ),
    (
        f'{LEAST}schedules = ["m", "tau"]\nshapes = []',
        "space: shapes must name at least one, for m, tau to follow (got",
    ),
    (
        space('"curriculum"\nshapes = []'),
        "space: shapes must name at least one, for tau, eps, gamma, kappa to follow (got",
    ),
    (f'{LEAST}shapes = ["linear", "linear"]', "space: must not name 'linear' twice"),
    (f'{LEAST}[promotion]\nagainst = ["ce"]', "promotion.against: must name published losses ("),
    (f'{LEAST}[promotion]\nagainst = ["ce"]', "sigmoid) but got 'ce'"),
    (
        f'{LEAST}[sampler]\nname = "cma"',
        "sampler.name: input should be 'tpe', 'qmc' or 'random' (got 'cma')",
    ),
    (f'name = "a b"{LEAST}', "name: string should match pattern"),
    (f'name = "a/b"{LEAST}', "(got 'a/b')"),
    (f'name = "a\\n"{LEAST}', r"(got 'a\n')"),
    # the same twice
    (
        LEAST.replace('"resnet8-digits"', '"resnet8-digits", "resnet8-digits"'),
        "search.benchmarks: must not name 'resnet8-digits' twice",
    ),
    (f'{LEAST}parameters = ["m", "m"]', "space: must not name 'm' twice"),
    (
        f'{LEAST}[promotion]\nagainst = ["focal", "focal"]',
        "promotion.against: must not name 'focal' twice",
    ),
    (f"{LEAST}[promotion]\nseeds = [42, 42]", "promotion.seeds: must not name 42 twice"),
    # seeds that belong to the searches
    (
        f"{LEAST}[promotion]\nseeds = [42, 2001]",
        "promotion.seeds: seeds must lie in [0, 2000], later ones belong to searches, "
        "but got 2001",
    ),
    (f"{LEAST}[promotion]\nseeds = [-1]", "but got -1"),
    (
        f"{LEAST}[promotion]\nseeds = [42]\ndetect = 1.0",
        "promotion: detect plans the seeds: leave out seeds",
    ),
    (f"{LEAST}[promotion]\ndetect = 0.0", "promotion.detect: input should be greater than 0"),
    (f"{LEAST}[promotion]\nseeds = []", "promotion.seeds: list should have at least 1 item"),
    # a ladder that widens
    (
        f"{LEAST}[[ladder]]\nepochs = 1\nseeds = 1\nkeep = 5",
        "ladder[0].keep must be at most search.keep (4) but got 5",
    ),
    (
        f"{LEAST}[promotion]\ntop = 9",
        "promotion.top must be at most search.keep (4) but got 9",
    ),
    (
        f"{LEAST}[[ladder]]\nepochs = 1\nseeds = 1\nkeep = 2\n[promotion]\ntop = 3",
        "promotion.top must be at most ladder[0].keep (2) but got 3",
    ),
]


@pytest.mark.parametrize(("text", "expected"), KEYS)
def test_a_wrong_key_is_said_in_one_line(text: str, expected: str) -> None:
    message = said(text)
    assert message.startswith("mine.toml: ")
    assert expected in message
    assert "\n" not in message


@pytest.mark.parametrize(
    "text",
    [
        "[search",
        "search = 1\n[search]\nx = 1",
        "x = " + "[" * 5000,
        "x = " + "1" * 5000,
        'x = "a\nb"',
        "x = 2026-99-99",
    ],
)
def test_broken_toml_is_said_in_one_line(text: str) -> None:
    message = said(text)
    assert message.startswith("mine.toml is not valid TOML: ")
    assert "\n" not in message


def test_a_long_value_is_cut() -> None:
    assert len(said(f'name = "{"x" * 5000}"{LEAST}')) < 250


def _binary(folder: Path) -> str:
    (folder / "binary.toml").write_bytes(b"\xff\xfe\x00")
    return str(folder / "binary.toml")


def _directory(folder: Path) -> str:
    (folder / "folder.toml").mkdir()
    return str(folder / "folder.toml")


@pytest.mark.parametrize(
    ("study", "expected"),
    [
        (_binary, "{given} must be TOML text but holds bytes that are not UTF-8"),
        (_directory, "{given} cannot be read: Is a directory"),
        (
            lambda folder: str(folder / "missing.toml"),
            "{given} cannot be read: No such file or directory",
        ),
        (lambda _: "quikstart", "unknown study 'quikstart': give the path of a .toml file, or"),
        (lambda _: "", "unknown study ''"),
    ],
)
def test_a_file_that_cannot_be_read_is_named(study, expected: str, tmp_path: Path) -> None:
    given = study(tmp_path)
    with pytest.raises(StudyError) as caught:
        read(given)
    assert expected.format(given=given) in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        ("trials = 8", "trials = 8", []),
        ("trials = 8", "trials = 8 # more?", []),
        ("trials = 8", "trials = 9", ["search.trials: 8 -> 9"]),
        ("epochs = 2", "epochs = 2\nseeds = 3", []),  # what it is anyway
        (
            'family = "composite"',
            'family = "composite"\nparameters = ["m"]\nshapes = ["linear"]',
            [
                "space.parameters: None -> ['m']",
                "space.shapes: ['linear', 'cosine', 'switch'] -> ['linear']",
            ],
        ),
    ],
)
def test_differences_name_the_keys(old: str, new: str, expected: list[str]) -> None:
    before = parse(LEAST, source="mine.toml")
    after = parse(LEAST.replace(old, new), source="mine.toml")
    assert before.differences(after) == expected
