"""What a command is doing and how far it is, on standard error; library calls say nothing.

A line that moves on a terminal; elsewhere a line a minute. Each job that took a while leaves a line when it is done.
"""

import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field

from rich.cells import cell_len, set_cell_size
from rich.console import Console, ConsoleOptions, RenderResult
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

LOG_SECONDS = 60.0
_DUMB_SECONDS = 5.0
"""Between lines on a terminal that cannot erase one."""
_WORTH_A_LINE = 2.0
"""Seconds from which on a job leaves a line on a terminal; in a log a stage does from LOG_SECONDS on."""


@dataclass
class _Job:
    what: str
    total: float | None = None
    unit: str = ""
    before: float = 0.0
    """Done by an earlier run, so no part of the speed."""
    done: float = 0.0
    began: float = field(default_factory=time.monotonic)

    def seconds(self) -> float:
        return time.monotonic() - self.began

    def speed(self) -> float:
        """Units/s."""
        return (self.done - self.before) / max(self.seconds(), 1e-9)

    def percent(self) -> str:
        """The total is often an estimate, so 100 is for the end."""
        return f"{min(99, int(100 * self.done / self.total))}%" if self.total else ""

    def left(self) -> str:
        left, speed = (self.total or 0) - self.done, self.speed()
        return f"{_time(left / speed)} left" if left > 0 and speed > 0 else ""

    def parts(self) -> list[str]:
        """What it is, percent, how many, speed, time left; what is not known is empty."""
        if not self.unit:
            return [self.what, "", "", _time(self.seconds()), ""]
        count = f"{self.done:,.0f}" + (f" of {self.total:,.0f}" if self.total else "") + f" {self.unit}"
        speed = _rate(self.speed(), self.unit) if self.done > self.before else _time(self.seconds())
        return [self.what, self.percent(), count, speed, self.left()]

    def line(self) -> str:
        what, *rest = self.parts()
        return f"{what}: {', '.join(filter(None, rest))}"

    def last_line(self) -> str:
        if not self.unit:
            return f"{self.what}: {_time(self.seconds())}"
        count = f"{self.done - self.before:,.0f} {self.unit}"
        return f"{self.what}: {count} in {_time(self.seconds())}, {_rate(self.speed(), self.unit)}"

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        """One line that fits the terminal: the bar and the count are dropped first."""
        what, percent, count, speed, left = self.parts()
        room = options.max_width - 1
        numbers = list(filter(None, [percent, count, speed, left]))
        if cell_len(" ".join([what, *numbers])) > room:
            numbers = list(filter(None, [percent, speed, left]))
        end = " ".join(numbers)
        what = _cropped(what, max(8, room - 1 - cell_len(end)))
        bar = min(40, room - 2 - cell_len(what) - cell_len(end))
        if self.total and bar >= 8:
            line = Table.grid(padding=(0, 1, 0, 0))
            line.add_row(Text(what), ProgressBar(self.total, min(self.done, self.total), width=bar), Text(end))
            yield line
        else:
            yield Text(_cropped(f"{what} {end}", room))


class _Terminal(Console):
    def show_cursor(self, show: bool = True) -> bool:
        """The cursor stays as it is: a run that is killed could not bring it back."""
        return False


class _Display:
    """The jobs at work, of which the last begun is shown."""

    def __init__(self) -> None:
        self._jobs: list[_Job] = []
        self._lock = threading.Lock()
        self._ended = threading.Event()
        self._thread: threading.Thread | None = None
        console = _Terminal(stderr=True)
        self._is_terminal = sys.stderr.isatty()
        self._live = None
        if self._is_terminal and not console.is_dumb_terminal:
            self._live = Live(
                console=console,
                get_renderable=self._newest,
                refresh_per_second=4,
                transient=True,
                redirect_stdout=False,
            )

    def begin(self, job: _Job) -> None:
        with self._lock:
            self._jobs.append(job)
            first = len(self._jobs) == 1
        if not first:
            return
        if self._live is not None:
            with suppress(OSError):
                self._live.start()
        else:
            self._ended.clear()
            self._thread = threading.Thread(target=self._say_regularly, daemon=True)
            self._thread.start()

    def end(self, job: _Job, is_done: bool) -> None:
        with self._lock:
            self._jobs.remove(job)
            last = not self._jobs
        if last and self._live is not None:
            with suppress(OSError):
                self._live.stop()
        elif last and self._thread is not None:
            self._ended.set()
            self._thread.join()
        if is_done and self._is_worth_a_line(job):
            if not last and self._live is not None:
                self._live.refresh()  # or the line of the job that is done is left below its last one
            _say(job.last_line())

    def _is_worth_a_line(self, job: _Job) -> bool:
        if job.unit and job.done == job.before:
            return False
        if self._is_terminal:
            return job.seconds() >= _WORTH_A_LINE
        return bool(job.unit) or job.seconds() >= LOG_SECONDS

    def _newest(self) -> _Job | str:
        with self._lock:
            return self._jobs[-1] if self._jobs else ""

    def _say_regularly(self) -> None:
        while not self._ended.wait(_DUMB_SECONDS if self._is_terminal else LOG_SECONDS):
            if isinstance(job := self._newest(), _Job):
                _say(job.line())


_display: _Display | None = None


@contextmanager
def shown() -> Iterator[None]:
    """Stages and progress are shown for as long as the context lasts; for commands."""
    global _display
    before, _display = _display, _Display()
    try:
        yield
    finally:
        _display = before


def note(line: str) -> None:
    """Says a line, where progress is shown; between jobs."""
    if _display is not None:
        _say(line)


@contextmanager
def stage(what: str) -> Iterator[None]:
    """Says `what` is being done, and for how long, for as long as the context lasts."""
    with _working(_Job(what)):
        yield


@contextmanager
def progress(what: str, total: float | None, unit: str, before: float = 0.0) -> Iterator[Callable[[float], None]]:
    """A function that takes how many more `unit`s are done, for as long as the context lasts.

    `before`: how many of `total` were done by an earlier run. The function may be called in any thread.
    """
    job = _Job(what, total, unit, before, before)
    lock = threading.Lock()

    def advance(more: float) -> None:
        with lock:
            job.done += more

    with _working(job):
        yield advance


@contextmanager
def _working(job: _Job) -> Iterator[None]:
    display = _display
    if display is None:
        yield
        return
    display.begin(job)
    is_done = False
    try:
        yield
        is_done = True
    finally:
        display.end(job, is_done)


def _say(line: str) -> None:
    with suppress(OSError, ValueError):  # stderr is closed: no reason to stop the work
        print(line, file=sys.stderr, flush=True)


def _cropped(text: str, cells: int) -> str:
    return set_cell_size(text, min(cell_len(text), cells))


def _rate(a_second: float, unit: str) -> str:
    if a_second < 1:
        return f"{60 * a_second:,.1f} {unit}/min"
    return f"{a_second:,.{0 if a_second >= 10 else 1}f} {unit}/s"


def _time(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    if hours >= 48:
        return f"{hours // 24} d {hours % 24} h"
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"
