"""One worker in this process, or several processes on this machine that share the weights."""

import os
import queue
import signal
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
import torch.multiprocessing as processes

from attention_influence.engines.tasks import follow_parent
from attention_influence.engines.work import Worker
from attention_influence.errors import AttentionInfluenceError
from attention_influence.model.language_model import LanguageModel
from attention_influence.scoring.canary import BrokenDevice
from attention_influence.scoring.plan import Unit
from attention_influence.scoring.run_store import RunStore
from attention_influence.scoring.scorer import Scorer
from attention_influence.scoring.worker import Progress, Reading

# Given to workers that were told to stop, before they are killed (seconds).
_PATIENCE = 15.0


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

    CPU workers share the cores and the weights; on CUDA worker i has device i. SIGTERM ends it like SIGINT, with
    KeyboardInterrupt, within seconds. Raises what a worker raised.
    """
    with terminated_like_interrupted():
        if workers == 1:
            job.worker(job.model, progress).work(mine)
        else:
            _run_processes(job, mine, workers, progress)


def _run_processes(job: Job, mine: Sequence[Unit], workers: int, progress: Progress) -> None:
    context = processes.get_context("spawn")
    messages = context.Queue()
    on_cuda = job.model.device.type == "cuda"
    threads = max(1, torch.get_num_threads() // workers)
    children: list[Any] = []
    error: AttentionInfluenceError | None = None
    try:
        for number in range(workers):
            device = f"cuda:{number}" if on_cuda else None
            own = (job, mine[number::workers], device, threads, messages, os.getpid())
            child = context.Process(target=_child, args=own)
            children.append(child)
            with _interrupts_held():
                child.start()
        while any(child.is_alive() for child in children) or not messages.empty():
            try:
                message = messages.get(timeout=0.5)
            except queue.Empty:
                continue
            if isinstance(message, AttentionInfluenceError):
                error = message
                if isinstance(message, BrokenDevice):
                    continue  # the others go on, and do its units, too
                break
            progress(*message)
    finally:
        _stop(children)
    if error is not None:
        raise error
    dead = [child.exitcode for child in children if child.exitcode]
    if len(dead) == len(children):
        raise AttentionInfluenceError(
            f"all {workers} workers died (exit codes {dead}; -9 is often too little memory). What was published is "
            "whole; run the same command again to go on, with fewer --workers if memory was short"
        )


def _child(job: Job, mine: Sequence[Unit], device: str | None, threads: int, messages: Any, parent: int) -> None:
    """A worker's process."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent decides
    signal.signal(signal.SIGTERM, _raise_interrupt)
    threading.Thread(target=follow_parent, args=(parent,), daemon=True).start()
    torch.set_num_threads(threads)
    try:
        model = job.model if device is None else job.model.on(device)
        job.worker(model, lambda *done: messages.put(done)).work(mine)
    except KeyboardInterrupt:
        pass
    except AttentionInfluenceError as error:
        messages.put(error)


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


@contextmanager
def terminated_like_interrupted() -> Iterator[None]:
    """SIGTERM raises KeyboardInterrupt in the main thread; a second signal of either kind ends the process at once."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {number: signal.signal(number, _raise_interrupt) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _raise_interrupt(number: int, frame: object) -> None:
    for again in (signal.SIGTERM, signal.SIGINT):
        signal.signal(again, lambda *_: os._exit(130))
    raise KeyboardInterrupt
