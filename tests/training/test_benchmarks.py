import subprocess
import sys
from dataclasses import replace

import pytest

from training import BenchmarkError, benchmark, benchmarks

# A change here means that no stored result can be compared with new ones.
DIGESTS = {
    "resnet8-digits": "10651eec5c1e",
    "resnet20-cifar10": "4986a66c8d6c",
    "resnet56-cifar100": "d8948339ca83",
    "vgg16bn-cifar100": "2a68cd591939",
    "mobilenetv2-fmnist": "f1374c3284af",
}


def test_every_protocol_is_the_one_written_down() -> None:
    assert {name: entry.digest for name, entry in benchmarks().items()} == DIGESTS


@pytest.mark.parametrize("name", DIGESTS)
def test_a_benchmark_is_found_by_its_name(name: str) -> None:
    assert benchmark(name).name == name


def test_only_fashion_mnist_is_hidden_from_search() -> None:
    hidden = [name for name, entry in benchmarks().items() if entry.hidden]
    assert hidden == ["mobilenetv2-fmnist"]


def test_an_unknown_name_is_answered_with_the_known_ones() -> None:
    with pytest.raises(BenchmarkError) as caught:
        benchmark("resnet9")
    assert str(caught.value) == (
        "unknown benchmark 'resnet9': choose one of resnet8-digits, resnet20-cifar10, "
        "resnet56-cifar100, vgg16bn-cifar100, mobilenetv2-fmnist"
    )


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("architecture", "resnext"),
        ("blocks", ()),
        ("blocks", (1, 0)),
        ("width", 0),
        ("architecture", "mine.nets:"),
        ("architecture", "mine.nets:build"),  # with blocks and a width
        ("data", "my/images"),
        ("num_classes", 1),
        ("mean", (0.5, 0.5)),
        ("std", (0.0,)),
        ("std", (0.2, 0.2)),
        ("resize", 0),
        ("crop_padding", -1),
        ("epochs", 0),
        ("batch_size", 0),
        ("learning_rate", float("nan")),
        ("learning_rate", 0.0),
        ("momentum", 1.0),
        ("weight_decay", -1e-4),
    ],
)
def test_a_field_that_breaks_its_rule_is_named(field: str, value: object) -> None:
    with pytest.raises(BenchmarkError, match=r" must be .* but got ") as caught:
        replace(benchmark("resnet8-digits"), **{field: value})
    assert str(caught.value).split()[0] == ("blocks" if value == "mine.nets:build" else field)


@pytest.mark.parametrize(
    ("field", "value"), [("learning_rate", 0.2), ("flip", True), ("blocks", (1, 1, 2))]
)
def test_another_protocol_has_another_digest(field: str, value: object) -> None:
    entry = benchmark("resnet8-digits")
    assert replace(entry, **{field: value}).digest != entry.digest


@pytest.mark.parametrize(("field", "value"), [("hidden", True), ("modules", "/somewhere")])
def test_what_changes_no_result_is_no_part_of_the_protocol(field: str, value: object) -> None:
    entry = benchmark("resnet8-digits")
    assert replace(entry, **{field: value}).digest == entry.digest


def test_the_users_own_are_found_beside_the_others() -> None:
    mine = replace(benchmark("resnet8-digits"), name="mine")
    assert benchmark("mine", [mine]) is mine
    assert benchmark("resnet8-digits", [mine]).name == "resnet8-digits"
    with pytest.raises(BenchmarkError, match=r"choose one of mine, resnet8-digits, "):
        benchmark("yours", [mine])


def test_importing_the_package_imports_nothing_slow() -> None:
    code = (
        "import sys, training; training.benchmarks();"
        "assert not {'torch', 'numpy', 'sklearn'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_every_public_name_can_be_fetched() -> None:
    import training

    assert all(hasattr(training, name) for name in training.__all__)
    with pytest.raises(AttributeError, match="no attribute 'search'"):
        _ = training.search
