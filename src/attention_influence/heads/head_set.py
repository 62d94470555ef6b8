"""A set of attention heads: what `detect` writes, what scoring masks."""

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from attention_influence.errors import HeadsError
from attention_influence.heads.doubts import ablation_doubts, retrieval_doubts
from attention_influence.html_tables import html_table
from attention_influence.shares import count_in
from attention_influence.storage.errors import refused
from attention_influence.storage.filesystems import read_file
from attention_influence.storage.strict_json import strict_json

Head = tuple[int, int]
Matrix = list[list[float | None]]

# By method, what its scores are, and what speaks against a set that it found; any other method goes by attention.
_BY_ATTENTION = ("retrieval score", retrieval_doubts)
_METHODS = dict.fromkeys(("ablation", "attribution", "greedy"), ("rise of the loss", ablation_doubts))


@dataclass(frozen=True)
class HeadSet:
    """Heads in rank order with how they were found; a set given by hand has only `heads`."""

    heads: tuple[Head, ...]
    """(layer, head), the most important first."""
    model: Mapping[str, str] | None = None
    """name, weights and tokenizer of the model's Identity."""
    method: str = "given"
    parameters: Mapping[str, Any] = field(default_factory=dict)
    seed: int | None = None
    n_samples: int | None = None
    probe_accuracy: float | None = None
    """Share of answer tokens that the model itself predicts right under teacher forcing."""
    probe_texts: Mapping[str, Mapping[str, float | None]] = field(default_factory=dict)
    """Input → how many of its texts were read, how many sentences the probes were drawn from, and how many of these are
    the first words of longer ones; how many probes ask for one of its sentences, and the accuracy on these."""
    tasks: Mapping[str, Mapping[str, float | None]] = field(default_factory=dict)
    """Of all methods but retrieval, task → its items, and the unmodified model's accuracy and loss on them
    (nats/token); chance is the accuracy of guessing, where there are choices."""
    items_digest: str | None = None
    """sha256 of their items, as the model reads them."""
    scores: Matrix | None = None
    """By layer and head; None where a layer has no attention, or fewer heads."""
    standard_errors: Matrix | None = None
    versions: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if len(set(self.heads)) != len(self.heads):
            raise HeadsError("a head is listed twice; each (layer, head) may stand once")

    def __iter__(self) -> Iterator[Head]:
        return iter(self.heads)

    def __len__(self) -> int:
        return len(self.heads)

    def by_layer(self) -> dict[int, list[int]]:
        """Layer → its heads, both ascending."""
        layers: dict[int, list[int]] = {}
        for layer, head in sorted(self.heads):
            layers.setdefault(layer, []).append(head)
        return layers

    @property
    def score_name(self) -> str:
        """What the scores are."""
        return _METHODS.get(self.method, _BY_ATTENTION)[0]

    def warnings(self) -> list[str]:
        """Why these heads should not be trusted, if so."""
        return _METHODS.get(self.method, _BY_ATTENTION)[1](self)

    def _repr_html_(self) -> str:
        matrices = [matrix for matrix in (self.scores, self.standard_errors) if matrix is not None]
        headings = ("layer", "head", self.score_name, "standard error")[: 2 + len(matrices)]
        rows = [(layer, head, *(matrix[layer][head] for matrix in matrices)) for layer, head in self.heads]
        model = f" of {self.model['name']}" if self.model else ""
        return html_table(headings, rows, f"{len(self)} heads{model}; {self.method}")

    def save(self, path: str | Path) -> None:
        """Writes heads.json, whole or not at all."""
        from attention_influence.storage.atomic_files import write_result

        record = asdict(self) | {"heads": [list(head) for head in self.heads]}
        write_result(str(path), (strict_json(record, indent=1) + "\n").encode())


def rank_heads(scores: Matrix) -> list[Head]:
    """All (layer, head) pairs that have a score, highest first; equal scores in order of layer and head."""
    pairs = [(layer, head) for layer, row in enumerate(scores) for head, score in enumerate(row) if score is not None]
    return sorted(pairs, key=lambda pair: (-scores[pair[0]][pair[1]], pair))  # type: ignore[operator]


def top_heads(scores: Matrix, share: float) -> list[Head]:
    """The ceil(share × heads) heads of highest score, in rank order."""
    ranked = rank_heads(scores)
    return ranked[: count_in(share, len(ranked))]


def versions() -> dict[str, str]:
    """Of the packages that scores of heads depend on."""
    return {name: version(name) for name in ("attention-influence", "torch", "transformers")}


def as_matrix(values: NDArray[np.float64]) -> Matrix:
    """Scores [layers, heads] as a head set holds them: to six decimals, None for NaN."""
    return [[None if np.isnan(x) else round(float(x), 6) for x in row] for row in values]


def standard_error(values_N: NDArray[np.float64]) -> NDArray[np.float64]:
    """Of the means [...] of values [N, ...] over N samples; NaN for one sample."""
    if len(values_N) < 2:
        return np.full(values_N.shape[1:], np.nan)
    return np.asarray(values_N.std(0, ddof=1) / len(values_N) ** 0.5)


def load_heads(path: str | Path) -> HeadSet:
    """The head set in a JSON file: heads.json, a plain [[layer, head], …], or {"layer-head": [scores…]}.

    The last is what the Retrieval_Head repository writes: heads are ranked by their mean score, and the top 5% are
    taken. Raises HeadsError.
    """
    try:
        record = json.loads(read_file(str(path)))
    except FileNotFoundError:
        raise HeadsError(f"{path}: no such file; write it with `attention-influence detect`") from None
    except (ValueError, OSError) as error:
        raise refused(f"read {path}", error) or HeadsError(f"{path} cannot be read as JSON: {error}") from None
    try:
        found = _from_record(record)
    except HeadsError as error:
        raise HeadsError(f"{path}: {error}") from None
    except (TypeError, ValueError, ArithmeticError, LookupError, AttributeError) as error:
        raise HeadsError(
            f'{path} is none of heads.json, [[layer, head], …] or {{"layer-head": [scores]}}: {error}'
        ) from None
    if not found.heads:
        raise HeadsError(f"{path} names no head; write it with `attention-influence detect`")
    return found


def _from_record(record: Any) -> HeadSet:
    if isinstance(record, list):
        return HeadSet(_pairs(record))
    if "heads" in record:
        known = {name: record[name] for name in HeadSet.__dataclass_fields__ if name in record}
        return HeadSet(**{**known, "heads": _pairs(record["heads"])})
    return _from_score_lists(record)


def _pairs(pairs: Sequence[Sequence[int]]) -> tuple[Head, ...]:
    heads = []
    for layer, head in pairs:
        if type(layer) is not int or type(head) is not int or layer < 0 or head < 0:
            raise ValueError(f"[{layer!r}, {head!r}] is not a pair of non-negative integers")
        heads.append((layer, head))
    return tuple(heads)


def _from_score_lists(record: Mapping[str, Sequence[float]]) -> HeadSet:
    means: dict[Head, float] = {}
    for name, values in record.items():
        layer, head = (int(part) for part in name.split("-"))
        means[layer, head] = sum(values) / len(values)
        if not math.isfinite(means[layer, head]):
            raise ValueError(f"the scores of {name} are not finite")
    width = max(head for _, head in means) + 1
    scores: Matrix = [[None] * width for _ in range(max(layer for layer, _ in means) + 1)]
    for (layer, head), mean in means.items():
        scores[layer][head] = mean
    return HeadSet(tuple(top_heads(scores, 0.05)), method="retrieval score lists", scores=scores)
