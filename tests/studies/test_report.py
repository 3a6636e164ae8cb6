from __future__ import annotations

import html
import re
from html.parser import HTMLParser

import pytest
from plotly.offline import get_plotlyjs

from losses import published
from studies import records
from studies.definition import StudyDefinition
from studies.report import report
from studies.view import StudyView

LOSSES = published()


class Page(HTMLParser):
    """What a browser would load, run and show."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.loads: list[str] = []
        self.scripts: list[str] = []
        self.text = ""
        self._in = ""
        self.feed(text)

    def handle_starttag(self, tag: str, attrs) -> None:
        self._in = tag
        self.loads += [value or "" for name, value in attrs if name in ("src", "href", "srcset")]
        if tag == "script":
            self.scripts.append("")

    def handle_endtag(self, tag: str) -> None:
        self._in = ""

    def handle_data(self, data: str) -> None:
        if self._in == "script":
            self.scripts[-1] += data
        elif self._in != "style":
            self.text += data

    @property
    def words(self) -> str:
        return " ".join(self.text.split())


def page_of(kept) -> Page:
    return Page(report(StudyView.load(kept.database, kept.definition)))


@pytest.fixture(params=["kept", "climbed", "done"])
def stage(request):
    """A study that has just begun, one on its way, and one that is done."""
    return request.getfixturevalue(request.param)


def test_the_page_is_complete_in_itself(stage) -> None:
    page = page_of(stage)
    assert page.loads == []
    assert get_plotlyjs().strip() in page.scripts[0]
    for script in page.scripts[1:]:  # our figures; Plotly's own text names web pages
        assert "http" not in script.replace("http://www.w3.org", "")


def test_what_the_user_wrote_is_never_run(promoted) -> None:
    promoted.add_trial(
        LOSSES["focal"], 0.1, baseline="<script>alert('name')</script>", reason="<b>why</b>"
    )
    text = report(StudyView.load(promoted.database, promoted.definition))
    assert not re.search(r"<script>\s*alert", text)
    assert "<b>why</b>" not in text
    words = Page(text).words
    assert promoted.definition.description in words  # shown as it was written
    assert "<script>alert('name')</script>" in words
    assert "<b>why</b>" in words


def test_a_label_cannot_leave_a_figures_script(promoted) -> None:
    promoted.evaluate(LOSSES["poly1"], [70, 71, 72], name="</script><script>alert(1)</script>")
    text = report(StudyView.load(promoted.database, promoted.definition))
    assert "<script>alert(1)" not in text
    assert html.escape("</script><script>alert(1)") in text


def test_a_study_that_has_just_begun(kept) -> None:
    words = page_of(kept).words
    assert "No trial is complete yet." in words
    assert "none of 8 trials" in words
    assert "On the test split" not in words


def test_a_study_on_its_way(climbed) -> None:
    climbed.add_trial(None, state="WAITING")
    words = page_of(climbed).words
    assert "The best loss so far has a gain of +3.00 points on validation images." in words
    assert "4 complete, 1 pruned, 1 waiting of 8 trials" in words
    assert "8 cross-entropy runs say what to expect" not in words  # two rungs of two epochs
    assert "16 cross-entropy runs say what to expect" in words
    assert "fell behind" in words
    assert "not sampled yet" in words


def test_a_study_that_is_done(done) -> None:
    words = page_of(done).words
    assert "better than cross-entropy: +3.00 points" in words
    assert LOSSES["focal"].formula in words
    assert "83.00 (1.00)" in words  # mean and deviation of 84, 82 and 83
    assert "+3.00" in words


def test_a_study_whose_claim_cannot_be_judged(promoted) -> None:
    """The claim names a seed that was never evaluated."""
    with promoted.database.transaction() as session:
        row = records.find_study(session, "kept")
        assert row is not None
        row.primary_claim = row.primary_claim | {"seeds": [42, 1012]}
    assert "The evaluations do not suffice" in page_of(promoted).words


def test_a_study_amended_to_other_epochs_has_no_controls_there_yet(climbed) -> None:
    text = climbed.definition.model_dump()
    text["search"]["epochs"] = 7
    climbed.definition = StudyDefinition.model_validate(text)
    assert "cross-entropy runs say what to expect" not in page_of(climbed).words


def test_a_real_study(real) -> None:
    page = Page(report(StudyView.load(*real)))
    assert page.loads == []
    assert re.search(r"trial \d.* is (better than|not shown to differ from)", page.words)
    assert len(page.scripts) == 1 + 6
