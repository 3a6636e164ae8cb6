import json
import sys

import pytest

from search import speed
from search.cli import main
from training.bench import Measured

MEASURED = Measured(
    benchmark="resnet8-digits",
    device="cpu",
    precision="fp32",
    images="synthetic",
    threads=1,
    batch_size=64,
    loader_workers=2,
    engine=[1000.0, 1200.0, 1100.0],
    yardstick=[500.0, 400.0, 550.0],
    start=3.25,
    gap=0.5,
    memory=3 * 2**29,
    full_images=45_000,
    epochs=200,
)


def test_the_table_says_what_was_measured_and_how():
    text = speed.table([MEASURED])
    line = next(line for line in text.splitlines() if line.startswith("resnet8-digits"))
    for cell in (
        "(synthetic)", "1,100", "17.2", "500", "2.00 (2.00-3.00)", "3.2 s", "0.50 s", "1.5 GiB",
        "2.3 h", "8.8",
    ):  # fmt: skip
        assert cell in line
    assert "cpu, fp32, CPU threads 1: medians of 3 rounds" in text
    assert "number of workers (2)" in text


def test_durations_are_told_in_the_largest_unit_that_fits():
    told = {2: "2 s", 150: "2.5 min", 9000: "2.5 h", 216_000: "2.5 d"}
    for seconds, text in told.items():
        assert speed._duration(seconds) == text


def test_bench_prints_json_and_nothing_else(monkeypatch, capsys):
    words = [
        "bench",
        "--benchmark",
        "resnet8-digits",
        "--rounds",
        "1",
        "--device",
        "cpu",
        "--json",
    ]
    monkeypatch.setattr(sys, "argv", ["losscout", *words])
    with pytest.raises(SystemExit, match="0"):
        main()
    out, err = capsys.readouterr()
    (found,) = json.loads(out)
    assert found["benchmark"] == "resnet8-digits"
    assert found["ratio"] > 0
    assert err == "measuring resnet8-digits on cpu\n"
