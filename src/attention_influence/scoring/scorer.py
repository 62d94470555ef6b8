"""Influence of documents: both losses of each text from one forked pass over packs of windows."""

from collections.abc import Iterable, Sequence
from dataclasses import asdict

import numpy as np
import torch
from numpy.typing import NDArray

from attention_influence.corpus.rows import readable_text
from attention_influence.errors import HeadsError, ModelError
from attention_influence.heads.head_set import Head, HeadSet
from attention_influence.model.language_model import LanguageModel
from attention_influence.model.selftest import SelfTest, self_test
from attention_influence.scoring.document_score import DocumentScore, TokenLosses
from attention_influence.scoring.windows import cut, pack

# Tokens a pack: enough to keep the products busy, few enough that activations stay small.
_PACK_TOKENS = {"cpu": 4096, "cuda": 32768}
MAX_DOCUMENT_TOKENS = 2**18


class Scorer:
    """Scores texts with one model and one set of heads.

    The self-test runs here, once, and raises ModelError when the model cannot be scored exactly. `window` is the
    context in tokens, BOS included (default: the model's); `pack_tokens` bounds the tokens of one forward pass and
    does not change scores beyond rounding. Documents above `max_document_tokens` get the reason too_long.
    """

    def __init__(
        self,
        model: LanguageModel,
        heads: HeadSet | Sequence[Head],
        *,
        window: int | None = None,
        pack_tokens: int | None = None,
        max_document_tokens: int = MAX_DOCUMENT_TOKENS,
    ) -> None:
        self.model = model
        self.heads = heads if isinstance(heads, HeadSet) else HeadSet(tuple((layer, head) for layer, head in heads))
        self.window = model.context if window is None else window
        self.pack_tokens = pack_tokens or _PACK_TOKENS.get(model.device.type, _PACK_TOKENS["cpu"])
        self.max_document_tokens = max_document_tokens
        if self.window < 2 + (model.tokens.bos is not None):
            raise ModelError(f"a window of {self.window} tokens leaves nothing to predict; raise --window")
        _check_heads(model, self.heads)
        self.masked = self.heads.by_layer()
        self.fork_layer = min(self.masked)
        self.tested: SelfTest = self_test(model, self.masked, self.window)

    def score(self, texts: Sequence[object], per_token: bool = False) -> list[DocumentScore]:
        """One DocumentScore for each text, in order; what is not a usable text gets a reason instead of losses.

        With `per_token`, each score also carries both losses of every token.
        """
        scores = [DocumentScore() for _ in texts]
        usable: list[tuple[DocumentScore, str, bytes]] = []
        for text, score in zip(texts, scores, strict=True):
            readable, score.reason = readable_text(text)
            if readable is None:
                continue
            score.n_chars = len(readable)
            try:
                usable.append((score, readable, readable.encode()))
            except UnicodeEncodeError:  # a lone surrogate
                score.reason = "invalid_utf8"
        documents: list[tuple[DocumentScore, list[int]]] = []
        for (score, _, content), tokens in zip(
            usable, self.model.tokens.encode([text for _, text, _ in usable]), strict=True
        ):
            score.n_tokens = len(tokens)
            if len(tokens) > self.max_document_tokens:
                score.reason = "too_long"
            elif len(tokens) + (self.model.tokens.bos is not None) < 2:
                score.reason = "too_few_tokens"
            else:
                score.describe(content, tokens)
                documents.append((score, tokens))
        self._score_tokens(documents, per_token)
        return scores

    def _score_tokens(self, documents: Sequence[tuple[DocumentScore, list[int]]], per_token: bool) -> None:
        bos = [] if self.model.tokens.bos is None else [self.model.tokens.bos]
        owners: list[int] = []
        windows: list[list[int]] = []
        for owner, (score, tokens) in enumerate(documents):
            parts = cut(len(tokens), self.window, bool(bos))
            score.n_windows = len(parts)
            for part in parts:
                owners.append(owner)
                windows.append(bos + tokens[part.start : part.stop])
        losses: list[NDArray[np.float32]] = [np.empty((2, 0), dtype=np.float32)] * len(windows)
        budget = self.pack_tokens if self.tested.packing else 0
        for members in pack([len(window) for window in windows], budget):
            for index, both in zip(members, self.window_losses([windows[i] for i in members]), strict=True):
                losses[index] = both
        of_document: list[list[NDArray[np.float32]]] = [[] for _ in documents]
        for owner, both in zip(owners, losses, strict=True):
            of_document[owner].append(both)
        for (score, tokens), parts_losses in zip(documents, of_document, strict=True):
            both = np.concatenate(parts_losses, axis=1)
            base_sum, ref_sum = both.sum(1, dtype=np.float64)
            score.set_losses(float(base_sum), float(ref_sum), both.shape[1])
            if per_token:
                score.token_losses = _by_token(tokens, parts_losses, bool(bos))

    def window_losses(self, windows: Sequence[Sequence[int]]) -> list[NDArray[np.float32]]:
        """Losses [2, tokens − 1] of each window, base then reference, from one forked pass over all of them.

        A window's first token is not predicted, so it has no loss.
        """
        body = self.model.forward(windows, self.masked, self.fork_layer)
        starts = np.cumsum([0, *map(len, windows)])
        predicting = np.concatenate([np.arange(s, s + len(w) - 1) for s, w in zip(starts, windows, strict=False)])
        targets = np.concatenate([np.asarray(w[1:], dtype=np.int64) for w in windows])
        device = self.model.device
        losses_BN = self.model.output.losses(
            body, torch.from_numpy(predicting).to(device), torch.from_numpy(targets).to(device)
        )
        both = losses_BN.cpu().numpy()
        return np.split(both, np.cumsum([len(w) - 1 for w in windows])[:-1], axis=1)


def _check_heads(model: LanguageModel, heads: HeadSet) -> None:
    if not heads.heads:
        raise HeadsError("the set of heads is empty; nothing would be masked")
    for layer, head in heads:
        if head >= model.heads.get(layer, 0):
            has = f"layer {layer} has {model.heads[layer]} heads" if layer in model.heads else "no attention there"
            raise HeadsError(f"{model.identity.name} has no head {head} in layer {layer} ({has}); detect heads on it")
    mine = asdict(model.identity)
    for part in ("weights", "tokenizer"):
        theirs = (heads.model or {}).get(part)
        if theirs is not None and theirs != mine[part]:
            raise HeadsError(
                f"these heads were detected on {(heads.model or {}).get('name')}, whose {part} differ from those of "
                f"{mine['name']}; run `attention-influence detect` on the model that scores"
            )


def _by_token(tokens: Sequence[int], parts: Iterable[NDArray[np.float32]], bos: bool) -> TokenLosses:
    unscored = np.full((2, 0 if bos else 1), np.nan, dtype=np.float32)
    base, ref = np.concatenate([piece for part in parts for piece in (unscored, part)], axis=1)
    return TokenLosses(np.asarray(tokens, dtype=np.int64), base, ref)
