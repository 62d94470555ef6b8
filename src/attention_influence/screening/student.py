"""A student: a predictor of influence fitted to a score store, in one small file with what is known of it. No torch."""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from attention_influence.errors import StoreError, UsageError
from attention_influence.rank_correlation import spearman
from attention_influence.screening.array_files import arrays_from_bytes, arrays_to_bytes
from attention_influence.screening.features import in_words
from attention_influence.screening.predictor import Predictor, fit_predictor, out_of_fold, predictor_from_arrays
from attention_influence.shares import count_in
from attention_influence.storage.atomic_files import read_if_there, write_result

_TOP = 0.2
_FIFTHS, _THIRDS = 5, 3
_MOST_MISSED = 5
_FEWEST = 50
_KIND = "attention-influence student"


@dataclass(frozen=True)
class DomainCard:
    """How well a student does on one domain, by predictions for documents that it was not fitted to."""

    domain: str
    documents: int
    spearman: float | None
    """Of prediction and influence; None where one side is constant."""
    recall: float
    """Share of the top 20% by influence that is in the top 20% by prediction; by chance 0.2."""
    calibration: tuple[tuple[float, float], ...]
    """(mean prediction, mean influence) of each fifth of the documents by prediction, the lowest first."""
    by_length: tuple[tuple[int, float | None], ...]
    """(bytes of the longest, Spearman) of each third of the documents by length, the shortest first."""
    missed: tuple[str, ...]
    """Names of at most 5 of the top 20% that are not in the top 20% by prediction, the lowest prediction first."""


@dataclass(frozen=True)
class Student:
    """A fitted student, and what is known of it."""

    predictor: Predictor
    domains: tuple[DomainCard, ...]
    about: Mapping[str, Any]
    """The fingerprint of the scores that it was fitted to, and how."""

    def predict(self, texts: Sequence[str]) -> NDArray[np.float64]:
        """The influence that is expected of each text."""
        return self.predictor.predict([in_words(text.encode(errors="replace")) for text in texts])

    def to_bytes(self) -> bytes:
        """The file's content; equal students give equal bytes."""
        record = {"kind": _KIND, "domains": [asdict(card) for card in self.domains], "about": dict(self.about)}
        return arrays_to_bytes(self.predictor.to_arrays(), record)

    @property
    def digest(self) -> str:
        """Of the content."""
        return hashlib.sha256(self.to_bytes()).hexdigest()

    def save(self, url: str) -> int:
        """Writes the file, whole or not at all; how many bytes it has."""
        content = self.to_bytes()
        write_result(url, content)
        return len(content)


def load_student(url: str) -> Student:
    """The student that was saved there. Raises StoreError when it is missing, damaged or of another kind."""
    content = read_if_there(url)
    if content is None:
        raise StoreError(f"{url}: there is no student. Give the file that `distill` wrote")
    arrays, record = arrays_from_bytes(content, url)
    if record.get("kind") != _KIND:
        raise StoreError(f"{url} is no student. Give the file that `distill` wrote")
    try:
        cards = [DomainCard(**{name: _as_tuples(value) for name, value in card.items()}) for card in record["domains"]]
        return Student(predictor_from_arrays(arrays), tuple(cards), record["about"])
    except (KeyError, TypeError) as error:
        raise StoreError(f"{url} was written by another version ({error}). Run `distill` again") from error


def _as_tuples(value: Any) -> Any:
    return tuple(map(_as_tuples, value)) if isinstance(value, list) else value


def fit_student(
    contents: Sequence[bytes],
    influence: NDArray[np.float64],
    domains: Sequence[str],
    names: Sequence[str],
    about: Mapping[str, Any],
    seed: int,
) -> Student:
    """A student of UTF-8 texts with finite influence, fitted to all; its card is of students fitted to 80% of them.

    `names`: of the documents, for `DomainCard.missed`.

    Raises UsageError for fewer than 50 documents.
    """
    if len(contents) < _FEWEST:
        raise UsageError(f"{len(contents):,} scored documents are too few for a student; {_FEWEST} are the least")
    texts = [in_words(content) for content in contents]
    predicted = out_of_fold(texts, influence, seed)
    whole = fit_predictor(texts, influence, seed)
    assert whole is not None
    sizes = np.array([len(content) for content in contents])
    places = {name: np.flatnonzero(np.array(domains) == name) for name in sorted(set(domains))}
    cards = tuple(
        _card(name, predicted[at], influence[at], sizes[at], [names[int(place)] for place in at])
        for name, at in places.items()
    )
    return Student(whole, cards, about)


def _card(
    domain: str,
    predicted: NDArray[np.float64],
    influence: NDArray[np.float64],
    sizes: NDArray[np.int64],
    names: Sequence[str],
) -> DomainCard:
    top = count_in(_TOP, len(influence))
    by_prediction = np.argsort(-predicted, kind="stable")
    of_top = set(np.argsort(-influence, kind="stable")[:top].tolist())
    missed = [place for place in by_prediction[top:].tolist() if place in of_top]
    fifths, thirds = (
        [part for part in np.array_split(order, parts) if len(part)]
        for order, parts in ((by_prediction[::-1], _FIFTHS), (np.argsort(sizes, kind="stable"), _THIRDS))
    )
    return DomainCard(
        domain,
        len(influence),
        spearman(predicted, influence),
        1 - len(missed) / top,
        tuple((float(predicted[part].mean()), float(influence[part].mean())) for part in fifths),
        tuple((int(sizes[part[-1]]), spearman(predicted[part], influence[part])) for part in thirds),
        tuple(names[place] for place in missed[: -_MOST_MISSED - 1 : -1]),
    )
