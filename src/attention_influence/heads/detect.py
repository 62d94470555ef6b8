"""Which heads retrieve: the retrieval task run through the model, and the top share of heads taken."""

import itertools
import logging
import random
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from attention_influence.errors import ProbeError
from attention_influence.heads.head_set import HeadSet, as_matrix, standard_error, top_heads, versions
from attention_influence.heads.probes import Probe, make_probe
from attention_influence.heads.retrieval import Where, hits
from attention_influence.heads.sentences import draw_sentences
from attention_influence.heads.settling import Settling
from attention_influence.model.attention.pass_state import Observed
from attention_influence.model.language_model import LanguageModel

_log = logging.getLogger(__name__)

_MOST_SENTENCES = 20_000

Texts = Sequence[str] | Mapping[str, Sequence[str]]
"""Texts, or input → texts."""


@dataclass(frozen=True)
class Detection:
    """Parameters of `detect_heads`; the paper's are the defaults."""

    samples: int = 800
    context: int = 4096
    share: float = 0.05
    where: Where = "needle"
    seed: int = 0
    until_stable: bool = False


def detect_heads(
    model: LanguageModel,
    texts: Texts,
    *,
    samples: int = 800,
    context: int = 4096,
    share: float = 0.05,
    where: Where = "needle",
    seed: int = 0,
    until_stable: bool = False,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> HeadSet:
    """The ceil(share × heads) heads of highest mean retrieval score, with the whole matrix (paper, section 3).

    `texts` are any texts; their sentences become the values of the task. Given as input → texts, each input gives an
    equal share of the sentences; how many, and how well the model repeats them, is recorded.

    `samples` probes of at most `context` tokens, answer included, are drawn by `seed`; with `until_stable` fewer, as
    soon as the chosen set has settled. `where` is what counts as a hit: "needle", the answer's own tokens in the
    context, or "anywhere", an equal token at any place. The paper's parameters are the defaults.
    `progress(done, total)` is called after each probe; nothing is printed. What is wrong with the heads, if anything,
    is logged as warnings, and `HeadSet.warnings()` tells it. Raises ProbeError, and TextsError for what is no list of
    texts.
    """
    asked = Detection(samples, context, share, where, seed, until_stable)
    if not 0 < asked.share <= 1 or asked.samples < 1:
        raise ProbeError(f"share {asked.share} and samples {asked.samples}: need 0 < share ≤ 1 and at least one sample")
    scores: list[NDArray[np.float64]] = []
    accuracy: dict[str, list[float]] = defaultdict(list)
    settling = Settling()
    sentences, probe_texts = find_sentences(model, texts, asked.seed)
    for probe, sample_scores, right in probe_scores(model, sentences, asked):
        scores.append(sample_scores)
        accuracy[sentences[probe.value]].append(right)
        progress(len(scores), asked.samples)
        if asked.until_stable and settling.is_due(len(scores)):
            chosen = top_heads(as_matrix(np.mean(scores, axis=0)), asked.share)
            if settling.has_settled(len(scores), chosen):
                break
    mean = np.mean(scores, axis=0)
    found = HeadSet(
        heads=tuple(top_heads(as_matrix(mean), asked.share)),
        model=asdict(model.identity),
        method="retrieval score",
        parameters={k: v for k, v in asdict(asked).items() if k != "seed"},
        seed=asked.seed,
        n_samples=len(scores),
        probe_accuracy=float(np.mean([*itertools.chain(*accuracy.values())])),
        probe_texts={
            name: {**counts, "probes": len(of := accuracy[name]), "accuracy": float(np.mean(of)) if of else None}
            for name, counts in probe_texts.items()
        },
        scores=as_matrix(mean),
        standard_errors=as_matrix(standard_error(np.array(scores))),
        versions=versions(),
    )
    for warning in found.warnings():
        _log.warning(warning)
    return found


def find_sentences(model: LanguageModel, texts: Texts, seed: int) -> tuple[dict[str, str], dict[str, dict[str, int]]]:
    """The sentences that probes are made of → their input, and input → counts (see `draw_sentences`)."""
    by_input = texts if isinstance(texts, Mapping) else {"texts": texts}
    return draw_sentences(by_input, model.tokens, _MOST_SENTENCES, seed)


def probe_scores(
    model: LanguageModel, sentences: Mapping[str, str], asked: Detection
) -> Iterator[tuple[Probe, NDArray[np.float64], float]]:
    """`asked.samples` probes, each with its retrieval scores [layers, heads] and accuracy. Raises ProbeError."""
    for probe in itertools.islice(make_probes(model, sentences, asked.context, asked.seed), asked.samples):
        yield probe, *score_probe(model, probe, asked.where)


def make_probes(model: LanguageModel, sentences: Mapping[str, str], context: int, seed: int) -> Iterator[Probe]:
    """Endless probes, each drawn from a generator of its own, so that probe i is the same whatever came before.

    `sentences` are sentence → input; of several inputs, each in turn has a sentence that is asked for.
    """
    if context > model.context:
        raise ProbeError(
            f"probes of {context} tokens are longer than the context of {model.identity.name}, {model.context}; "
            f"give --context {model.context} or less"
        )
    by_input = defaultdict(list)
    for sentence, name in sentences.items():
        by_input[name].append(sentence)
    inputs = sorted(by_input)
    for number in itertools.count():
        rng = random.Random(f"{seed}/{number}")
        value = rng.choice(by_input[inputs[number % len(inputs)]]) if len(inputs) > 1 else None
        yield make_probe(sentences, model.tokens, context, rng, value)


def score_probe(
    model: LanguageModel,
    probe: Probe,
    where: Where = "needle",
    masked: Mapping[int, Sequence[int]] | None = None,
) -> tuple[NDArray[np.float64], float]:
    """Retrieval scores [layers, heads] of one probe, NaN where there is no head, and the share of answer tokens right.

    Only the rows that predict answer tokens are computed, never a [T × T] map. `masked` heads attend uniformly.
    """
    token_T = torch.tensor(probe.tokens, device=model.device)
    answer_A = torch.tensor(probe.answer, device=model.device)
    needle = torch.tensor(probe.needle, device=model.device)
    shares: dict[int, torch.Tensor] = {}

    def look(seen: Observed) -> None:
        query_HAD = seen.query_BHTD[0, :, answer_A - 1]
        hit_HA = hits(query_HAD, seen.key_BKTD[0], token_T, answer_A, needle, seen.sliding_window, where)
        shares[seen.layer] = hit_HA.double().mean(1)

    body = model.forward([probe.tokens], masked, observe=look)
    logits_AV = model.output.logits(body, body.last_hidden_state[0, answer_A - 1])
    right = (logits_AV.argmax(-1) == token_T[answer_A]).double().mean().item()
    scores = np.full((max(model.heads) + 1, max(model.heads.values())), np.nan)
    for layer, share in shares.items():
        scores[layer, : len(share)] = share.cpu().numpy()
    return scores, right
