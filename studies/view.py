"""Everything that is shown of a study, read from its database in one go."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import optuna
from optuna.trial import FrozenTrial

from studies import records
from studies.claims import Claim, Verdict, verdict
from studies.database import Database
from studies.definition import StudyDefinition
from studies.errors import StudyError
from studies.fidelity import Agreement, agreements
from studies.leaderboard import Row, leaderboard
from studies.rungs import Rung, rungs
from studies.scales import scale_verdict
from studies.standings import Ladder, Standing, published_name
from studies.status import status
from training import benchmark


@dataclass(frozen=True, kw_only=True)
class StudyView:
    """A study as it is stored now.

    Attributes:
        num_classes: of the search's first benchmark.
        rungs: the standings after each rung of the ladder that is complete.
        costs: what each rung cost and changed, from the search to the test split.
        rows: its evaluations; empty before promotion.
        claim: the primary claim, fixed before the test split was opened.
        scale: whether its pick does more than another learning rate.
    """

    definition: StudyDefinition
    total: int
    num_classes: int
    trials: Sequence[FrozenTrial]
    status: Mapping[str, Any]
    ladder: Ladder
    rungs: Sequence[Sequence[Standing]]
    costs: Sequence[Rung]
    rows: Sequence[Row]
    claim: Claim | None
    verdict: Verdict | None
    scale: Verdict | None

    @classmethod
    def load(cls, database: Database, definition: StudyDefinition) -> StudyView:
        """Read a study.

        Raises:
            StudyError: it was never started in this database.
        """
        trials = trials_of(database, definition.name)
        with database.transaction() as session:
            row = records.find_study(session, definition.name)
            if row is None:
                raise StudyError(f"study {definition.name!r} was never started here")
            evaluations = records.evaluations(session, row.id)
            ladder = Ladder.load(session, row.id, definition, trials)
            claim = Claim.from_dict(row.primary_claim) if row.primary_claim else None
            rows = leaderboard(evaluations, claim)
            costs = rungs(definition, ladder, trials, records.study_runs(session, row.id))
            found = status(definition.name, row.total, trials, evaluations)
            found["rungs"] = [each.to_dict() for each in costs]
        standings = [ladder.standings(rung) for rung in range(1, len(definition.rungs))]
        return cls(
            definition=definition,
            total=row.total,
            num_classes=_num_classes(row.benchmarks or {}, definition.search.benchmarks[0]),
            trials=trials,
            status=found,
            ladder=ladder,
            rungs=[each for each in standings if each],
            costs=costs,
            rows=rows,
            claim=claim,
            verdict=verdict(evaluations, claim) if claim else None,
            scale=scale_verdict(evaluations, claim) if claim else None,
        )

    def agreements(self) -> list[Agreement]:
        """How the fidelities agree on the ranks of losses: a second of work."""
        return agreements(self.ladder, self.rows)

    @property
    def conclusion(self) -> str | None:
        """What the evaluations show of the primary claim, as a sentence."""
        if self.verdict is None or self.claim is None:
            return None
        pick = next(row.spec for row in self.rows if row.spec.id == self.claim.loss)
        known = published_name(pick)
        who = f"trial {self.claim.trial}" + (f", the published {known}," if known else "")
        return f"{who} is {self.verdict.words}"


def _num_classes(own: Mapping[str, Any], name: str) -> int:
    # The user's own were resolved when the study was started: their data and code may be gone.
    return int(own[name]["num_classes"]) if name in own else benchmark(name).num_classes


def trials_of(database: Database, name: str) -> list[FrozenTrial]:
    """Every trial of a study; none where Optuna does not know it yet."""
    try:
        study = optuna.load_study(study_name=name, storage=database.storage)
    except KeyError:
        return []
    return study.get_trials(deepcopy=False)
