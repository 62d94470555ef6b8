"""Controlled influence: what is left of log(loss_ref / loss_base) after what length, loss and repetition explain.

A document's value is its residual, in nats, under a model of its domain that did not see its fold (five folds by a hash
of its key; cross-fitting, as in Chernozhukov et al. 2018), so that no document is explained by itself. The models are
fitted on a random sample of each domain, which bounds memory and time; documents outside it are judged by the model of
their fold all the same. Sample and folds depend on keys and the seed alone, never on how rows lie in units.

In each domain two kinds of model are tried, linear and gradient-boosted trees, and the one that explains more of the
variance, cross-fitted, is used: on a few hundred documents the linear one does, on many the trees. Where neither
explains anything, or there are fewer than 50 documents, the value is the log ratio less its mean, which ranks as
influence does.
"""

import functools
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from threadpoolctl import ThreadpoolController

from attention_influence.errors import UsageError
from attention_influence.progress import progress
from attention_influence.selection.key_sample import DomainSamples
from attention_influence.selection.ranking.keys import as_float64
from attention_influence.store.reader import ScoreStore
from attention_influence.store.row_hashes import rows_of_each, salted, tie_hashes

CONTROLS = ("n_tokens", "loss_base", "copy_share", "repeat_share", "compression", "unigram_surprisal")
"""Columns of the store that are controlled for; n_tokens by its logarithm."""
COLUMNS = ("source", "row", "domain", "influence", "loss_ref", *CONTROLS)
"""Of the store, what controlled influence needs."""
FEWEST = 50
"""Documents of a domain, with all statistics, below which nothing is fitted."""

_FOLDS = 5
_MOST_OF_A_DOMAIN = 50_000
# With very many domains each gives fewer, so that all samples fit in memory together.
_MOST_IN_ALL = 2_000_000

Array = npt.NDArray[np.float64]
Model = Callable[[Array], Array]
"""From controls [documents, controls] to the log ratio that they lead to expect [documents]."""
Method = Literal["linear", "trees", "mean"]


@dataclass(frozen=True)
class DomainControl:
    """What was fitted to one domain."""

    documents: int
    """That were fitted on."""
    method: Method
    explained: float
    """Share of the variance of the log ratio that is explained in documents that the model did not see (R²)."""
    models: tuple[Model, ...]
    """For each fold, the one that did not see it."""


@dataclass(frozen=True)
class Control:
    """The models of all domains."""

    domains: Mapping[str, DomainControl]
    seed: int
    columns: tuple[str, ...] = COLUMNS

    def values(self, rows: pa.RecordBatch | pa.Table) -> pa.Array:
        """Controlled influence of rows, float32; null where a statistic is missing or a loss is 0 or less."""
        controls, log_ratio, known = observed(rows)
        folds = _folds(rows, self.seed)
        expected = np.zeros(len(log_ratio))
        for name, of_domain in rows_of_each(rows.column("domain")):
            for fold in range(_FOLDS):
                rows_of_fold = np.flatnonzero(known & of_domain & (folds == fold))
                if len(rows_of_fold):
                    expected[rows_of_fold] = self.domains[name].models[fold](controls[rows_of_fold])
        return pa.array((log_ratio - expected).astype(np.float32), mask=~known)

    def warnings(self) -> list[str]:
        """Where nothing is controlled."""
        return [
            f"domain {name}: "
            + (
                f"only {domain.documents} documents have all statistics, too few to fit anything to"
                if domain.documents < FEWEST
                else "length, loss and repetition explain nothing of influence"
            )
            + ", so its controlled ranking is that of influence"
            for name, domain in self.domains.items()
            if domain.method == "mean"
        ]

    def to_json(self) -> dict[str, Any]:
        return {
            "controls": list(CONTROLS),
            "folds": _FOLDS,
            "domains": {
                name: {"documents": domain.documents, "method": domain.method, "explained": domain.explained}
                for name, domain in self.domains.items()
            },
        }


def fit_control(store: ScoreStore, seed: int) -> Control:
    """The control of every domain of a store, fitted on at most 50,000 documents of each.

    Raises UsageError when the store lacks one of the columns.
    """
    missing = [name for name in COLUMNS if name not in store.schema.names]
    if missing:
        raise UsageError(
            f"{store.url}: controlled influence needs the column {missing[0]!r}, and the store was written without it. "
            "Score the corpus again, or choose another ranking."
        )
    domains: set[str] = set()
    for batch in store.batches(["domain"]):
        domains.update(batch.column("domain").unique().to_pylist())
    samples = DomainSamples(min(_MOST_OF_A_DOMAIN, max(FEWEST, _MOST_IN_ALL // max(len(domains), 1))))
    for batch in store.batches(list(COLUMNS)):
        hashes = salted(tie_hashes(batch.column("source"), batch.column("row").to_numpy()), f"control {seed}")
        _, _, known = observed(batch)
        samples.add(pa.Table.from_batches([batch]), hashes, known)
    return fit_samples(samples.rows(), seed)


def fit_samples(samples: Mapping[str, pa.Table], seed: int) -> Control:
    """The control fitted on the rows of each domain's sample, all of which have all statistics."""
    domains = {}
    with progress("controlled influence", len(samples), "domains") as done:
        for name, rows in samples.items():
            controls, log_ratio, _ = observed(rows)
            domains[name] = _fit(controls, log_ratio, _folds(rows, seed))
            done(1)
    return Control(domains, seed)


def observed(rows: pa.RecordBatch | pa.Table) -> tuple[Array, Array, npt.NDArray[np.bool_]]:
    """(controls [rows, 6], log(loss_ref / loss_base) [rows], which rows have all of them).

    Documents too short for a share of repetition repeat nothing.
    """
    base, ref, tokens = (as_float64(rows.column(name)) for name in ("loss_base", "loss_ref", "n_tokens"))
    known = (base > 0) & (ref > 0) & (tokens > 0) & np.isfinite(base) & np.isfinite(ref)
    known &= np.isfinite(as_float64(rows.column("influence")))
    columns = [np.log(np.where(known, tokens, 1.0)), base]
    columns += [np.nan_to_num(as_float64(rows.column(name)), nan=0.0) for name in ("copy_share", "repeat_share")]
    columns += [as_float64(rows.column(name)) for name in ("compression", "unigram_surprisal")]
    controls = np.column_stack(columns)
    known &= np.isfinite(controls).all(axis=1)
    log_ratio = np.log(np.where(known, ref, 1.0) / np.where(known, base, 1.0))
    return controls, log_ratio, known


def _fit(controls: Array, log_ratio: Array, folds: npt.NDArray[np.int64]) -> DomainControl:
    documents, mean = len(log_ratio), float(log_ratio.mean()) if len(log_ratio) else 0.0
    best = DomainControl(documents, "mean", 0.0, (lambda controls: np.full(len(controls), mean),) * _FOLDS)
    total = float(((log_ratio - mean) ** 2).sum())
    if documents < FEWEST or total == 0:
        return best
    methods: dict[Method, Callable[[Array, Array], Model]] = {"linear": _linear, "trees": _trees}
    for method, fit in methods.items():
        models, rest = [], 0.0
        for fold in range(_FOLDS):
            unseen = folds == fold
            models.append(fit(controls[~unseen], log_ratio[~unseen]))
            rest += float(((log_ratio[unseen] - models[-1](controls[unseen])) ** 2).sum())
        if 1 - rest / total > best.explained:
            best = DomainControl(documents, method, 1 - rest / total, tuple(models))
    return best


def _linear(controls: Array, log_ratio: Array) -> Model:
    """Least squares. Sums and predictions go without BLAS, whose bits change with threads and with batches."""
    mean, scale = controls.mean(0), controls.std(0)
    scale = np.where(scale > 0, scale, 1.0)
    low, high = float(log_ratio.min()), float(log_ratio.max())

    def terms(controls: Array) -> Array:
        return np.column_stack([np.ones(len(controls)), (controls - mean) / scale])

    known = terms(controls)
    weights = np.linalg.lstsq(np.einsum("ni,nj->ij", known, known), np.einsum("ni,n->i", known, log_ratio), rcond=None)[
        0
    ]

    def predict(controls: Array) -> Array:
        expected = np.zeros(len(controls))
        for weight, column in zip(weights, terms(controls).T, strict=True):
            expected += weight * column
        # A straight line must not expect what no document showed.
        return np.clip(expected, low, high)

    return predict


def _trees(controls: Array, log_ratio: Array) -> Model:
    """Gradient boosting on histograms, 100 trees of 8 leaves: 31 explained less of 1,500 to 30,000 documents."""
    from sklearn.ensemble import HistGradientBoostingRegressor  # takes a second; not every selection needs it

    trees = HistGradientBoostingRegressor(max_leaf_nodes=8, early_stopping=False, random_state=0)
    with _threads().limit(limits=1, user_api="openmp"):
        trees.fit(controls, log_ratio)

    def predict(controls: Array) -> Array:
        if not len(controls):
            return np.zeros(0)
        with _threads().limit(limits=1, user_api="openmp"):
            return np.asarray(trees.predict(controls), dtype=np.float64)

    return predict


@functools.cache
def _threads() -> ThreadpoolController:
    """For one OpenMP thread: on a machine whose cores are busy, waiting for a second takes longer than the work.

    Looking through the libraries of the process for it takes as long as a small fit.
    """
    return ThreadpoolController()


def _folds(rows: pa.RecordBatch | pa.Table, seed: int) -> npt.NDArray[np.int64]:
    hashes = tie_hashes(rows.column("source"), rows.column("row").to_numpy())
    return (salted(hashes, f"fold {seed}") % np.uint64(_FOLDS)).astype(np.int64)
