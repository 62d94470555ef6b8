"""How far a long job is: a bar on a terminal, a log line a minute elsewhere; always on standard error."""

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, Progress, ProgressColumn, Task, TextColumn, TimeRemainingColumn
from rich.text import Text

_LOG_SECONDS = 60.0


@contextmanager
def progress(what: str, total: float | None, unit: str) -> Iterator[Callable[[float], None]]:
    """A function that takes how many more `unit`s are done, for as long as the context lasts."""
    if sys.stderr.isatty():
        bar = Progress(
            TextColumn(what),
            BarColumn(),
            TextColumn(f"{{task.completed:,.0f}} {unit}"),
            _Rate(),
            TimeRemainingColumn(),
            console=Console(stderr=True),
        )
        with bar:
            task = bar.add_task(what, total=total)
            yield lambda more: bar.advance(task, more)
        return
    began = last = time.monotonic()
    done = 0.0

    def advance(more: float) -> None:
        nonlocal done, last
        done += more
        now = time.monotonic()
        if now - last >= _LOG_SECONDS:
            last = now
            of = f" of {total:,.0f}" if total else ""
            print(f"{what}: {done:,.0f}{of} {unit}, {_rate(done / (now - began))}", file=sys.stderr, flush=True)

    yield advance


class _Rate(ProgressColumn):
    """The speed, empty until it is known."""

    def render(self, task: Task) -> Text:
        return Text("" if task.speed is None else _rate(task.speed))


def _rate(a_second: float) -> str:
    return f"{a_second:,.1f} a second" if a_second >= 1 else f"{60 * a_second:,.1f} a minute"
