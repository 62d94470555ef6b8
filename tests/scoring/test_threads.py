"""One model, one scorer, several threads."""

import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from attention_influence import Scorer
from attention_influence.heads.detect import score_probe
from attention_influence.heads.probes import Probe
from scoring.tiny import HEADS, text, tiny
from tiny_models import Tiny

TEXTS = [text(60, seed=seed) for seed in range(12)]  # of one length, so that shapes fit whatever is mixed up


@pytest.fixture
def made() -> Iterator[Tiny]:
    """A model whose layers let other threads run before each of them."""
    made = tiny()
    hooks = [layer.register_forward_pre_hook(lambda *_: time.sleep(1e-3)) for layer in made.model.layers]
    yield made
    for hook in hooks:
        hook.remove()


def test_threads_that_share_a_scorer_get_the_losses_of_one(made: Tiny) -> None:
    scorer = Scorer(made.model, HEADS)

    def losses(document: str) -> tuple[float | None, float | None]:
        score = scorer.score([document])[0]
        return score.loss_base, score.loss_ref

    alone = list(map(losses, TEXTS))
    assert len({base for base, _ in alone}) == len(TEXTS)
    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(losses, TEXTS)) == alone


def test_scoring_detecting_and_self_tests_may_run_at_once_on_one_model(made: Tiny) -> None:
    scorer = Scorer(made.model, HEADS)
    ids = made.model.tokens.encode([text(20) * 3])[0]
    probe = Probe(tuple(ids), tuple(range(40, 60)), tuple(range(20, 40)), n_pairs=5, value="")
    works = [
        lambda: [scorer.score([document])[0].influence for document in TEXTS],
        lambda: score_probe(made.model, probe)[0].tolist(),
        lambda: score_probe(made.model, probe, masked={1: [0, 1]})[1],
        lambda: Scorer(made.model, [(3, 0)]).tested,
    ]
    alone = [work() for work in works]
    with ThreadPoolExecutor(4) as pool:
        jobs = [pool.submit(work) for work in works * 3]
        assert [job.result() for job in jobs] == alone * 3


def test_tokenizing_does_not_wait_for_a_pass(made: Tiny) -> None:
    scorer = Scorer(made.model, HEADS)
    in_pass, prepared = threading.Event(), threading.Event()

    def hold(*_: object) -> None:
        in_pass.set()
        assert prepared.wait(30), "prepare() waits for the pass"

    hook = made.model.layers[0].register_forward_pre_hook(hold)
    with ThreadPoolExecutor(1) as pool:
        scoring = pool.submit(scorer.score, TEXTS[:1])
        assert in_pass.wait(30)
        assert [len(document.tokens) for document in scorer.prepare(TEXTS)] == [60] * len(TEXTS)
        prepared.set()
        assert scoring.result()[0].influence is not None
    hook.remove()
