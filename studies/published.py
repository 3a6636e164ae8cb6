"""Results that others have published on the benchmarks, to stand against: theirs, not ours."""

from __future__ import annotations

import csv
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path

FILE = Path(__file__).parent / "published_results.csv"


@dataclass(frozen=True, kw_only=True)
class PublishedResult:
    """Somebody else's runs of one method on one benchmark, 200 epochs each.

    Attributes:
        best: best test accuracy over the epochs (%), by seed.
        sources: where the numbers stand.
    """

    name: str
    kind: str
    benchmark: str
    best: Mapping[int, float]
    sources: tuple[str, ...]


@cache
def published_results() -> list[PublishedResult]:
    """Every published result, benchmark by benchmark in the order of the file."""
    with FILE.open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    groups: dict[tuple[str, str, str], list[dict[str, str]]] = {}
    for row in rows:
        groups.setdefault((row["benchmark"], row["result"], row["type"]), []).append(row)
    return [
        PublishedResult(
            name=name,
            kind=kind,
            benchmark=benchmark,
            best={int(row["seed"]): float(row["best_accuracy"]) for row in group},
            sources=tuple(dict.fromkeys(row["source"] for row in group)),
        )
        for (benchmark, name, kind), group in groups.items()
    ]
