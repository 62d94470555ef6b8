"""A command run on a pseudo-terminal, as a person at a shell has it."""

import fcntl
import os
import pty
import signal
import struct
import subprocess
import sys
import termios
import threading
from collections.abc import Mapping, Sequence
from typing import NamedTuple


class Shown(NamedTuple):
    """What a command printed on a terminal, both streams together, and its exit code."""

    text: str
    code: int


def run_on_terminal(
    arguments: Sequence[str],
    columns: int = 80,
    rows: int = 24,
    environment: Mapping[str, str] | None = None,
    interrupted_at: str | None = None,
) -> Shown:
    """`attention-influence` with these arguments, all three streams on a terminal of that size.

    `interrupted_at`: what is shown when Ctrl-C is typed, once.
    """
    terminal, inner = pty.openpty()
    fcntl.ioctl(inner, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))
    parts: list[bytes] = []
    seen = threading.Event()

    def read() -> None:
        while True:
            try:
                part = os.read(terminal, 65536)
            except OSError:  # Linux reports the end of a terminal in this way
                return
            if not part:
                return
            parts.append(part)
            if interrupted_at is not None and interrupted_at.encode() in b"".join(parts):
                seen.set()

    reader = threading.Thread(target=read)
    reader.start()
    try:
        command = [sys.executable, "-m", "attention_influence", *arguments]
        env = {name: value for name, value in os.environ.items() if name not in ("COLUMNS", "LINES", "NO_COLOR")}
        env |= {"TERM": "xterm-256color"} | (environment or {})
        with subprocess.Popen(command, stdin=inner, stdout=inner, stderr=inner, env=env) as child:
            while interrupted_at is not None and child.poll() is None:
                if seen.wait(0.1):
                    child.send_signal(signal.SIGINT)
                    break
            code = child.wait(300)
    finally:
        os.close(inner)
        reader.join()
        os.close(terminal)
    return Shown(b"".join(parts).decode(errors="replace"), code)
