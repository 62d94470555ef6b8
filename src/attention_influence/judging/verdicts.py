"""What a judge said of a document, and the verdicts that are kept on disk so that no request is made twice."""

import hashlib
import json
import sqlite3
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

from attention_influence.errors import StorageError
from attention_influence.judging.prompt import VERSION, Prompt, Question

Outcome = Literal["answered", "malformed", "refused", "failed"]
OUTCOMES: dict[Outcome, str] = {
    "answered": "two verdicts",
    "malformed": "no JSON object of two booleans",
    "refused": "the judge or its filter refused",
    "failed": "no answer after all retries",
}

_WAIT = 30.0  # seconds, for another process that writes


@dataclass(frozen=True)
class Verdict:
    """One answer of a judge."""

    outcome: Outcome
    first: Question
    """What it was asked first."""
    answers: Mapping[Question, bool] | None = None
    """None unless answered."""
    probabilities: Mapping[Question, float] | None = None
    """P(true), of a judge that gives it."""
    said: str = ""
    """Of any other outcome: the beginning of what came instead."""
    shortened: bool = False
    """Whether the judge's context was too short for the document as it was shown."""


def key_of(judge: Mapping[str, Any], prompt: Prompt, repeat: int) -> str:
    """What tells a request from all others: prompt version, judge, text shown, order of the questions, repeat."""
    document = hashlib.sha256(prompt.document.encode()).hexdigest()
    record = json.dumps([VERSION, judge, document, prompt.first, repeat], sort_keys=True)
    return hashlib.sha256(record.encode()).hexdigest()


class KeptVerdicts:
    """Verdicts by the key of their request, in a SQLite file: each is on disk, whole, when `keep` returns.

    Processes may share the file. It holds no text of a document. Raises StorageError when the disk refuses.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        with self._refusals():
            path.parent.mkdir(parents=True, exist_ok=True)
            self._database = sqlite3.connect(path, timeout=_WAIT, isolation_level=None)
            self._database.execute("CREATE TABLE IF NOT EXISTS verdicts (key TEXT PRIMARY KEY, verdict TEXT)")

    def get(self, key: str) -> Verdict | None:
        with self._refusals():
            row = self._database.execute("SELECT verdict FROM verdicts WHERE key = ?", (key,)).fetchone()
        return None if row is None else Verdict(**json.loads(row[0]))

    def keep(self, key: str, verdict: Verdict) -> None:
        with self._refusals():
            self._database.execute("INSERT OR REPLACE INTO verdicts VALUES (?, ?)", (key, json.dumps(asdict(verdict))))

    def close(self) -> None:
        self._database.close()

    @contextmanager
    def _refusals(self) -> Iterator[None]:
        try:
            yield
        except (OSError, sqlite3.Error) as error:
            raise StorageError(
                f"verdicts cannot be kept in {self._path}: {error}. XDG_CACHE_HOME puts the cache elsewhere; if the "
                "file is damaged, remove it"
            ) from error
