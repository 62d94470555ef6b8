"""What an unfinished ablation has measured, in a file beside its result, so that it resumes after a kill."""

import io
from zipfile import BadZipFile

import numpy as np
from numpy.typing import NDArray

from attention_influence.errors import HeadsError
from attention_influence.storage.atomic_files import remove, with_retries, write_atomically
from attention_influence.storage.filesystems import read_file

Rows = NDArray[np.float64]
"""[items, 2 + heads]: accuracy and loss of the unmodified model, then the loss with each head masked."""


class Unfinished:
    """The rows of one detection; `fingerprint` says of which. Without a `url` nothing is kept."""

    def __init__(self, url: str | None, fingerprint: str) -> None:
        self._url, self._fingerprint = url, fingerprint

    def read(self, columns: int) -> Rows:
        """The rows kept by an earlier run, [0, columns] if there is none. Raises HeadsError for another detection's."""
        empty = np.empty((0, columns))
        if self._url is None:
            return empty
        try:
            content = read_file(self._url)
        except FileNotFoundError:
            return empty
        try:
            with np.load(io.BytesIO(content)) as kept:
                fingerprint, rows = str(kept["fingerprint"]), kept["rows"]
        except (ValueError, KeyError, EOFError, BadZipFile) as error:
            raise HeadsError(
                f"{self._url} is not what an unfinished `detect` leaves: {error}. Remove it to start again"
            ) from None
        if fingerprint != self._fingerprint or rows.shape[1:] != (columns,):
            raise HeadsError(
                f"{self._url} holds {len(rows)} items of an unfinished detection of another model, with other items or "
                "in another precision. Finish that with its own command, remove the file, or give another --out"
            )
        return np.asarray(rows, dtype=np.float64)

    def keep(self, rows: Rows) -> None:
        """Replaces what is kept, whole or not at all."""
        if self._url is None:
            return
        url, content = self._url, io.BytesIO()
        np.savez(content, fingerprint=np.array(self._fingerprint), rows=rows)
        with_retries(lambda: write_atomically(url, content.getvalue()), f"write {url}")

    def remove(self) -> None:
        """Of a detection that is finished."""
        if self._url is None:
            return
        url = self._url
        with_retries(lambda: remove(url), f"remove {url}")
