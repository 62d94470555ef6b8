"""One worker in this process, or several processes on this machine that share the weights."""

import gc
import logging
import os
import signal
import sys
import threading
import traceback
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from multiprocessing.connection import wait
from typing import Any

import torch
import torch.multiprocessing as processes

from attention_influence.errors import AttentionInfluenceError
from attention_influence.model.language_model import LanguageModel
from attention_influence.runs.canary import BrokenDevice
from attention_influence.runs.parallel import follow_parent
from attention_influence.runs.worker import Worker
from attention_influence.scoring.score_unit import Progress, Reading
from attention_influence.scoring.scorer import Scorer
from attention_influence.storage.atomic_files import write_atomically
from attention_influence.store.leases import worker_name
from attention_influence.store.plan import Unit
from attention_influence.store.run import RunStore
from attention_influence.streams import handled_by

_log = logging.getLogger(__name__)

# Seconds that workers have to stop before they are killed.
_PATIENCE = 15.0


class WorkerCrash(AttentionInfluenceError):
    """An error in a worker that nothing expects."""


@dataclass(frozen=True)
class Job:
    """All that a worker needs to know; pickles, the model's weights as shared memory."""

    store: RunStore
    reading: Reading
    max_bad_rate: float
    model: LanguageModel
    scorer: dict[str, Any]
    """Keyword arguments of Scorer."""

    def worker(self, model: LanguageModel, progress: Progress) -> Worker:
        return Worker(self.store, Scorer(model, **self.scorer), self.reading, self.max_bad_rate, progress)


def run_locally(job: Job, mine: Sequence[Unit], workers: int, progress: Progress) -> None:
    """Scores the units of `mine` and steals others, with one worker here or with several processes.

    CPU workers share the cores and the weights; for those on CUDA see `place`. A worker that dies is reported at once,
    and the others continue. SIGTERM ends all like SIGINT, with KeyboardInterrupt, within seconds. Raises what a worker
    raised.
    """
    with terminated_like_interrupted():
        if workers == 1:
            job.worker(job.model, progress).work(mine)
        else:
            _run_processes(job, mine, workers, progress)


def _run_processes(job: Job, mine: Sequence[Unit], workers: int, progress: Progress) -> None:
    context = processes.get_context("spawn")
    devices = place(job.model.device, workers)
    leave_device(job.model)
    threads = max(1, torch.get_num_threads() // workers)
    children: list[Any] = []
    # A pipe for each: one that is killed while it writes blocks no other, and its end is known at once.
    pipes: dict[Any, int] = {}
    error: AttentionInfluenceError | None = None
    try:
        for number in range(workers):
            messages, sent = context.Pipe(duplex=False)
            own = (job, mine[number::workers], devices[number], threads, sent, os.getpid())
            child = context.Process(target=_child, args=own)
            children.append(child)
            with _interrupts_held():
                child.start()
            sent.close()
            pipes[messages] = number
        while pipes:
            ready: list[Any] = wait([*pipes])
            for pipe in ready:
                try:
                    message = pipe.recv()
                except (EOFError, OSError):
                    _report_end(children, pipes.pop(pipe))
                    continue
                if not isinstance(message, AttentionInfluenceError):
                    progress(*message)
                elif isinstance(message, BrokenDevice | WorkerCrash):
                    error = message
                    _log.warning("%s", message)  # the others continue, and do its units, too
                else:
                    raise message
    finally:
        _stop(children)
    if error is not None:
        raise error
    dead = [_how(child) for child in children if child.exitcode]
    if len(dead) == len(children):
        raise AttentionInfluenceError(
            f"all {workers} workers died ({', '.join(dict.fromkeys(dead))}). Finished units are kept; run the same "
            "command again to resume, with fewer --workers if memory was short"
        )


def _report_end(children: Sequence[Any], number: int) -> None:
    children[number].join()
    if children[number].exitcode and any(child.is_alive() for child in children):
        _log.warning(
            "worker %d of %d died: %s. The others do its units", number + 1, len(children), _how(children[number])
        )


def place(device: torch.device, workers: int) -> list[str | None]:
    """The device of each worker, None for the CPU: `device` where it has a number, else all that there are in turn."""
    if device.type != "cuda":
        return [None] * workers
    if ":" in str(device):
        return [str(device)] * workers
    return [f"cuda:{number % torch.cuda.device_count()}" for number in range(workers)]


def leave_device(model: LanguageModel) -> None:
    """Moves the model into the CPU's memory, from where workers take it, so that none of it stays on a GPU."""
    if model.device.type == "cuda":
        model.on("cpu")
        torch.cuda.empty_cache()


def crash(store_url: str, worker: str, error: BaseException) -> WorkerCrash:
    """What is said of an error that nothing expects; its traceback is put into the store's log."""
    log = f"{store_url}/log/crash-{worker}.txt"
    where = f"Traceback: {log}"
    try:
        write_atomically(log, "".join(traceback.format_exception(error)).encode())
    except Exception as unwritten:
        where = f"Its traceback cannot be written to {log} ({unwritten})"
    return WorkerCrash(
        f"worker {worker} crashed: {type(error).__name__}: {error}. {where}. Finished units are kept; run the same "
        "command again to resume"
    )


def _child(job: Job, mine: Sequence[Unit], device: str | None, threads: int, messages: Any, parent: int) -> None:
    """A worker's process."""
    gc.freeze()  # what was imported is never garbage, and would be looked through when the process ends
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent decides
    signal.signal(signal.SIGTERM, _raise_interrupt)
    threading.Thread(target=follow_parent, args=(parent,), daemon=True).start()
    torch.set_num_threads(threads)
    try:
        model = job.model if device is None else job.model.on(device)
        job.worker(model, lambda *done: messages.send(done)).work(mine)
    except KeyboardInterrupt:
        sys.exit(130)
    except AttentionInfluenceError as error:
        messages.send(error)
    except Exception as error:
        messages.send(crash(job.store.url, worker_name(), error))


def _how(child: Any) -> str:
    """How a process ended."""
    code: int = child.exitcode
    if code >= 0:
        return f"exit code {code}"
    name = signal.Signals(-code).name if -code in set(signal.Signals) else f"signal {-code}"
    return f"{name}, often too little memory" if code == -signal.SIGKILL else name


@contextmanager
def _interrupts_held() -> Iterator[None]:
    """Ctrl-C waits; a process that is started meanwhile never sees it until it chooses to ignore it."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _stop(children: Sequence[Any]) -> None:
    for child in children:
        if child.pid is not None and child.is_alive():
            child.terminate()
    for child in children:
        if child.pid is None:
            continue
        child.join(_PATIENCE)
        if child.is_alive():
            child.kill()
            child.join()


def terminated_like_interrupted() -> AbstractContextManager[None]:
    """SIGTERM raises KeyboardInterrupt in the main thread; a second signal of either kind ends the process at once."""
    return handled_by(_raise_interrupt, signal.SIGTERM, signal.SIGINT)


def _raise_interrupt(number: int, frame: object) -> None:
    for again in (signal.SIGTERM, signal.SIGINT):
        signal.signal(again, lambda *_: os._exit(130))
    raise KeyboardInterrupt
