"""Standard output and standard error of a command: whatever they are connected to, the work that is done counts."""

import logging
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TextIO

from attention_influence.errors import AttentionInfluenceError


def prepare_streams() -> None:
    """Characters that a stream cannot encode are escaped; streams that were closed lead nowhere."""
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        if stream is None:
            setattr(sys, name, open(os.devnull, "w", encoding="utf-8"))  # noqa: SIM115 (open as long as the process)
        elif hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")


def write(text: str, stream: TextIO) -> None:
    """A line; a reader that has gone away (`… | head`) is no error. Raises AttentionInfluenceError on a full disk."""
    try:
        if text:
            stream.write(text)
        stream.flush()
    except OSError as error:
        # What could not be written would be tried again, and fail again, when the interpreter ends.
        os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())
        if not isinstance(error, BrokenPipeError):
            raise AttentionInfluenceError(
                f"the result could not be printed ({error.strerror}); what the command wrote elsewhere is complete"
            ) from error


@contextmanager
def interrupts_noted() -> Iterator[list[int]]:
    """The interrupts in the block, each of which raises KeyboardInterrupt, which a library may turn into an error."""
    noted: list[int] = []

    def note(number: int, frame: object) -> None:
        noted.append(number)
        raise KeyboardInterrupt

    with handled_by(note, signal.SIGINT):
        yield noted


@contextmanager
def handled_by(handler: Callable[[int, object], None], *signals: signal.Signals) -> Iterator[None]:
    """Signals call a handler until the block ends; in another thread than the main one, which gets none, nothing."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {number: signal.signal(number, handler) for number in signals}
    try:
        yield
    finally:
        for number, previous in before.items():
            signal.signal(number, previous)


class LogHandler(logging.Handler):
    """Writes to what `sys.stderr` is at the time: on a terminal, above the line that shows progress."""

    def emit(self, record: logging.LogRecord) -> None:
        write(self.format(record) + "\n", sys.stderr)
