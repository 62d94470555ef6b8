"""EleutherAI's lm-evaluation-harness itself, on a network with masked heads.

Needs lm-eval (`pip install 'attention-influence[lm-eval]'`); importing this module without it raises ImportError.
"""

import copy
import io
import logging
import os
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext, redirect_stdout, suppress
from importlib.metadata import version
from typing import Any

import numpy as np
import tqdm
from lm_eval import simple_evaluate
from lm_eval.models.huggingface import HFLM
from lm_eval.tasks import TaskManager

from attention_influence.errors import AttentionInfluenceError, ModelError, UsageError, did_you_mean
from attention_influence.evidence.metrics import Evaluation, Metric
from attention_influence.model.memory import is_out_of_memory
from attention_influence.progress import progress, stage

_log = logging.getLogger(__name__)
_harness_logs = [logging.getLogger(name) for name in ("lm_eval", "huggingface_hub")]

# Resamples for the standard errors of metrics that are no means; the harness's 100,000 take minutes a metric.
_RESAMPLES = 1000


class Harness:
    """Tasks of the harness, loaded once: their data is downloaded, and examples are the same in every run.

    `names` are tasks, groups or tags, or paths of YAML files; `include_path` are folders of further task files.
    Raises UsageError for what is not known or cannot be loaded.
    """

    def __init__(self, names: Sequence[str], include_path: Sequence[str] = ()) -> None:
        for folder in include_path:
            if not os.path.isdir(folder):
                raise UsageError(f"--include-path {folder}: no such folder")
        with stage("loading tasks of the harness"), _quiet(logging.ERROR):
            self._manager, loaded = _load(names, list(include_path))
        groups = loaded.get("groups", {})
        self._children = {child for group in groups.values() for child in group.child_names}
        in_groups = {task.task_name for group in groups.values() for task in group.get_all_tasks()}
        self._tasks = [group for name, group in groups.items() if name not in self._children]
        self._tasks += [task for name, task in loaded["tasks"].items() if name not in in_groups]
        self.version: str = version("lm-eval")
        self.about: dict[str, Any] = {}
        """Of each task its version, its examples and its items, known after a run."""

    def run(
        self,
        network: Any,
        tokenizer: Any,
        what: str,
        *,
        batch_size: int,
        limit: int | None = None,
        num_fewshot: int | None = None,
        apply_chat_template: bool = False,
        confirm_run_unsafe_code: bool = False,
    ) -> Evaluation:
        """One run on a transformers network as it is; `what` names it while it shows its progress.

        Sums of log-likelihoods are in float32 whatever the weights: in 16 bits they would be rounded to halves.
        Raises AttentionInfluenceError for what the harness refuses or fails at.
        """
        with _quiet(logging.ERROR):  # it warns that the network is in memory, as is meant
            lm = _Shown(
                pretrained=network,
                backend="causal",
                # Its own padding token and side are set on it.
                tokenizer=copy.deepcopy(tokenizer),
                batch_size=batch_size,
                softmax_dtype="float32",
            )
        lm.what = what
        with _quiet(logging.ERROR if self.about else logging.WARNING):  # each warning once
            try:
                found = simple_evaluate(
                    model=lm,
                    tasks=self._tasks,
                    task_manager=self._manager,
                    limit=limit,
                    num_fewshot=num_fewshot,
                    apply_chat_template=apply_chat_template,
                    confirm_run_unsafe_code=confirm_run_unsafe_code,
                    bootstrap_iters=_RESAMPLES,
                )
            except Exception as error:  # of its tasks, of their metrics and of the model
                if is_out_of_memory(error):
                    raise ModelError(
                        f"too little memory for {batch_size} items at a time; lower --batch-size"
                    ) from error
                if "unsafe" in str(error):
                    raise UsageError(f"{_first_line(error)} (--confirm-run-unsafe-code)") from error
                name = type(error).__name__
                raise AttentionInfluenceError(f"the harness stopped: {name}: {_first_line(error)}") from error
        self.about = {
            name: {"version": found["versions"].get(name), "fewshot": found["n-shot"].get(name), **counts}
            for name, counts in found["n-samples"].items()
        }
        return {
            (name, metric): result
            for name, metrics in found["results"].items()
            if name not in self._children
            for metric, result in _metrics(metrics, found["higher_is_better"].get(name, {}), found["samples"].get(name))
        }


def _load(names: Sequence[str], folders: list[str]) -> tuple[TaskManager, Any]:
    """The tasks, and the manager that knows them: of own files alone if these have all, as listing the harness's
    thousands of files takes ten seconds."""
    own = TaskManager(include_path=folders, include_defaults=False)
    if all(name in own.task_index or os.path.isfile(name) for name in names):
        with suppress(Exception):  # own files may build on the harness's
            return own, own.load(list(names))
    manager = TaskManager(include_path=folders)
    for name in names:
        if name not in manager.task_index and not os.path.isfile(name):
            hint = did_you_mean(name, manager.all_tasks, "`lm-eval ls tasks` lists all")
            raise UsageError(f"the harness has no task {name!r}; {hint}")
    try:
        return manager, manager.load(list(names))
    except Exception as error:  # of its tasks, of YAML, of datasets and of the hub
        hint = ". A task file of your own may name local data (dataset_path: json)" if "Hub" in str(error) else ""
        raise UsageError(f"the harness cannot load {', '.join(names)}: {_first_line(error)}{hint}") from error


def _metrics(
    figures: Mapping[str, Any], higher: Mapping[str, bool | None], samples: Sequence[Mapping[str, Any]] | None
) -> Iterator[tuple[str, Metric]]:
    filters = Counter(name.partition(",")[0] for name in figures)
    for name, value in figures.items():
        metric, comma, of_filter = name.partition(",")
        if not comma or metric.endswith("_stderr") or not isinstance(value, int | float):
            continue
        stderr = figures.get(f"{metric}_stderr,{of_filter}")
        items = None
        values = [s.get(metric) for s in samples or () if s["filter"] == of_filter]
        if values and all(isinstance(v, int | float | np.number) for v in values):
            items = np.asarray(values, dtype=np.float64)
            if not np.isclose(items.mean(), value, rtol=1e-6, atol=1e-9):
                items = None
        yield (
            name if filters[metric] > 1 else metric,
            Metric(
                float(value),
                float(stderr) if isinstance(stderr, int | float) and stderr == stderr else None,
                higher.get(metric) is not False,
                items,
            ),
        )


class _Shown(HFLM):  # type: ignore[misc]
    """Shows our progress, of requests, in place of the harness's own bars."""

    what = ""

    def loglikelihood(self, requests: list[Any], disable_tqdm: bool = False) -> Any:
        return self._with_progress(super().loglikelihood, requests)

    def loglikelihood_rolling(self, requests: list[Any], disable_tqdm: bool = False) -> Any:
        return self._with_progress(super().loglikelihood_rolling, requests)

    def generate_until(self, requests: list[Any], disable_tqdm: bool = False) -> Any:
        return self._with_progress(super().generate_until, requests)

    def _with_progress(self, compute: Callable[..., Any], requests: list[Any]) -> Any:
        with progress(self.what, len(requests), "requests") as advance:
            self.set_cache_hook(_Counting(advance))
            return compute(requests)


class _Counting:
    """What the harness tells of every request that is done, where it would write it to a cache."""

    def __init__(self, advance: Callable[[float], None]) -> None:
        self._advance = advance

    def add_partial(self, kind: str, request: Any, result: Any) -> None:
        self._advance(1)


@contextmanager
def _quiet(level: int = logging.WARNING) -> Iterator[None]:
    """Keeps the harness's bars, prints and logs below `level` to itself, unless we are verbose."""
    is_verbose = _log.isEnabledFor(logging.INFO)
    before, own_init = [log.level for log in _harness_logs], tqdm.tqdm.__init__

    def without_bar(self: Any, *args: Any, **kwargs: Any) -> None:
        own_init(self, *args, **kwargs | {"disable": True})

    os.environ.setdefault("DISABLE_MULTIPROC", "1")  # its resampling would fork a process with threads
    for log in _harness_logs:
        log.setLevel(logging.INFO if is_verbose else level)
    tqdm.tqdm.__init__ = without_bar
    try:
        with nullcontext() if is_verbose else redirect_stdout(io.StringIO()):
            yield
    finally:
        tqdm.tqdm.__init__ = own_init
        for log, of_log in zip(_harness_logs, before, strict=True):
            log.setLevel(of_log)


def _first_line(error: Exception) -> str:
    """Of a message; of a bare key's error, the key."""
    text = str(error.args[0] if isinstance(error, KeyError) and error.args else error).strip()
    return text.split("\n")[0] or type(error).__name__
