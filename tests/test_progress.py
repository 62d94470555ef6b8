"""What is shown of long work: in a log, and on a terminal of any width."""

import io
import time

import pytest
from rich.cells import cell_len
from rich.console import Console

from attention_influence import progress as module
from attention_influence.progress import progress, shown, stage


def test_library_calls_say_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    with stage("loading"), progress("scoring", 10, "tokens") as advance:
        advance(10)
    assert capsys.readouterr() == ("", "")


def test_a_log_has_a_line_now_and_then_and_one_at_the_end(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "LOG_SECONDS", 0.05)
    with shown(), progress("scoring", 1000, "tokens") as advance:
        time.sleep(0.13)
        advance(250)
        time.sleep(0.13)
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) >= 4
    assert lines[0].startswith("scoring: 0%, 0 of 1,000 tokens, 0:00")
    assert lines[-2].startswith("scoring: 25%, 250 of 1,000 tokens, ")
    assert lines[-2].endswith(" left")
    assert lines[-1].startswith("scoring: 250 tokens in 0:00, ")


def test_a_resumed_run_starts_where_it_is_and_its_speed_is_its_own(capsys: pytest.CaptureFixture[str]) -> None:
    with shown(), progress("scoring", 1000, "tokens", before=900) as advance:
        advance(50)
    assert capsys.readouterr().err.startswith("scoring: 50 tokens in 0:00, ")


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is 100 seconds after the beginning of time."""
    monkeypatch.setattr(module.time, "monotonic", lambda: 100.0)


@pytest.mark.usefixtures("clock")
def test_percent_counts_what_was_done_before_and_speed_does_not() -> None:
    job = module._Job("scoring", 10_000, "tokens", before=9_000, done=9_500, began=0)
    assert job.line() == "scoring: 95%, 9,500 of 10,000 tokens, 5.0 tokens/s, 1:40 left"


@pytest.mark.usefixtures("clock")
def test_an_estimate_that_was_too_low_is_not_done_before_the_end() -> None:
    job = module._Job("scoring", 1000, "tokens", done=1200, began=90)
    assert job.line() == "scoring: 99%, 1,200 of 1,000 tokens, 120 tokens/s"


def test_short_stages_leave_no_line_in_a_log_and_failed_work_neither(capsys: pytest.CaptureFixture[str]) -> None:
    with shown(), stage("loading"):
        pass
    with pytest.raises(ValueError, match="x"), shown(), progress("scoring", 10, "tokens"):
        raise ValueError("x")
    assert capsys.readouterr().err == ""


@pytest.mark.usefixtures("clock")
@pytest.mark.parametrize("columns", [20, 40, 60, 80, 200])
@pytest.mark.parametrize(
    "what", ["scoring", "loading /a/long/path/to/a/model/that/goes/on/and/on.gguf", "読み込み" * 20]
)
def test_one_line_however_wide_the_terminal_is(columns: int, what: str) -> None:
    sink = io.StringIO()
    job = module._Job(what, 120_000, "tokens", done=45_000, began=0)
    Console(file=sink, width=columns, force_terminal=True, color_system=None).print(job)
    (line,) = sink.getvalue().splitlines()
    assert cell_len(line) < columns
    if columns >= 40:
        assert line.rstrip().endswith("450 tokens/s 2:47 left")
        assert "37%" in line
    if what == "scoring":
        assert ("45,000 of 120,000 tokens" in line) == (columns >= 60)


def test_times_are_read_at_a_glance() -> None:
    known = {0: "0:00", 59.6: "1:00", 3600: "1:00:00", 90_000: "25:00:00", 180_000: "2 d 2 h"}
    assert {seconds: module._time(seconds) for seconds in known} == known
