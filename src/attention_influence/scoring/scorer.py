"""Influence of documents: both losses of each text from one forked pass over packs of windows."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from attention_influence.corpus.rows import must_be_texts, readable_text
from attention_influence.errors import HeadsError, ModelError
from attention_influence.heads.head_set import Head, HeadSet
from attention_influence.model.language_model import LanguageModel
from attention_influence.model.loading.pickling import Reference, load_again, reference_to
from attention_influence.model.memory import Shortage
from attention_influence.model.self_test import SelfTest, self_test
from attention_influence.model.transfer import OnTheWay, to_device
from attention_influence.model.windows import cut
from attention_influence.scoring.document_score import DocumentScore, TokenLosses
from attention_influence.scoring.lots import in_lots
from attention_influence.scoring.pack_size import default_pack_tokens
from attention_influence.scoring.packs import SMALLEST_PACK, Launched, Losses, losses_in_packs
from attention_influence.scoring.steps import SENTENCE, Granularity, TextInSteps, in_steps, step_rule

MAX_DOCUMENT_TOKENS = 2**18
DEFAULT_WINDOW = 8192
"""Tokens, where the model's context is longer: the cost of attention grows with the square of the window."""


@dataclass(slots=True)
class Prepared:
    """A text on its way to its score; without tokens when its score already has a reason."""

    score: DocumentScore
    text: str = ""
    tokens: list[int] = field(default_factory=list)
    in_steps: TextInSteps | None = None
    """Where steps are asked for."""


class Scorer:
    """Scores texts with one model and one set of heads.

    The self-test runs here, once, and raises ModelError when the model cannot be scored exactly. `window` is the
    context in tokens, BOS included (default: the model's, DEFAULT_WINDOW at most); `pack_tokens` bounds the tokens of
    one forward pass and does not change scores beyond rounding. Documents above `max_document_tokens` get the reason
    too_long. `compiled` layers are for GPUs; the first passes wait for the compiler. A `tested` result of the same
    model, heads and window, found in another process, spares the self-test. Threads may share a scorer.
    """

    def __init__(
        self,
        model: LanguageModel,
        heads: HeadSet | Sequence[Head],
        *,
        window: int | None = None,
        pack_tokens: int | None = None,
        max_document_tokens: int = MAX_DOCUMENT_TOKENS,
        compiled: bool = False,
        tested: SelfTest | None = None,
    ) -> None:
        given: object = heads
        if isinstance(given, str | bytes):
            raise HeadsError(f"heads are given as {given!r}; give load_heads(...) or a list of (layer, head)")
        self.model = model
        self.heads = heads if isinstance(heads, HeadSet) else HeadSet(tuple((layer, head) for layer, head in heads))
        self.window = min(model.context, DEFAULT_WINDOW) if window is None else window
        self.pack_tokens = pack_tokens or default_pack_tokens(model)
        self.shortage = Shortage(SMALLEST_PACK)
        """How often memory ran out for a pack."""
        self.max_document_tokens = max_document_tokens
        if self.window < 2 + (model.tokens.bos is not None):
            raise ModelError(f"a window of {self.window} tokens leaves nothing to predict; raise --window")
        if model.longest_context is not None and self.window > model.longest_context:
            raise ModelError(
                f"a window of {self.window:,} tokens is longer than the context of {model.identity.name}; give "
                f"--window {model.longest_context} or less"
            )
        check_heads(model, self.heads)
        self.masked = self.heads.by_layer()
        self.fork_layer = min(self.masked)
        self.compiled = compiled
        if compiled:
            model.compile_layers()
        self.tested = tested or self_test(model, self.masked, self.window)

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickles the name of its model, without the self-test, which runs where it arrives."""
        options = {name: getattr(self, name) for name in ("window", "pack_tokens", "max_document_tokens", "compiled")}
        return _arrived, (reference_to(self.model), self.heads, options)

    def score(
        self,
        texts: Iterable[object],
        per_token: bool = False,
        *,
        granularity: Granularity = "document",
        steps: str | Sequence[str] = SENTENCE,
    ) -> list[DocumentScore]:
        """One DocumentScore for each text, in order; what is not a usable text gets a reason instead of losses.

        With `per_token`, each score also carries both losses of every token. With granularity='step' it also carries
        the mean rise of loss of each step (after AIR, arXiv 2512.13279); `steps` says what ends one: 'sentence',
        'line', a text of your own, or several of these (see `step_ends`). Raises TextsError for what is no list of
        texts, such as a single text, UsageError for steps or a granularity that there are not.
        """
        return list(self.score_iter(texts, per_token, granularity=granularity, steps=steps))

    def score_iter(
        self,
        texts: Iterable[object],
        per_token: bool = False,
        *,
        granularity: Granularity = "document",
        steps: str | Sequence[str] = SENTENCE,
    ) -> Iterator[DocumentScore]:
        """The same scores one after another, from any iterable: it is read as far as the next lot of texts needs.

        A lot fills about 16 packs; that many texts and scores are in memory at a time. Errors: see `score`.
        """
        must_be_texts(texts)
        rule = step_rule(granularity, steps)
        lots = in_lots(([text] for text in texts), _countable, self.pack_tokens)
        return (score for lot in lots for score in self.score_prepared(self.prepare(lot, rule), per_token))

    def prepare(self, texts: Iterable[object], rule: Sequence[str] = ()) -> list[Prepared]:
        """The texts tokenized, with all that needs no model; may run in another thread than the model.

        `rule`: what ends a step (see `step_rule`); without it, texts are not cut into steps.
        """
        must_be_texts(texts)
        prepared = [_readable(text) for text in texts]
        for document in prepared:
            if self.model.tokens.surely_more_than(self.max_document_tokens, document.text):
                document.score.reason = "too_long"
        readable = [document for document in prepared if document.score.reason is None]
        for document, (tokens, starts) in zip(readable, self._encoded(readable, rule), strict=True):
            score = document.score
            score.n_tokens = len(tokens)
            if len(tokens) > self.max_document_tokens:
                score.reason = "too_long"
            elif len(tokens) + (self.model.tokens.bos is not None) < 2:
                score.reason = "too_few_tokens"
            else:
                score.describe(document.text.encode(), tokens)
                document.tokens = tokens
                document.in_steps = None if starts is None else in_steps(document.text, rule, starts)
        return prepared

    def score_prepared(
        self,
        prepared: Sequence[Prepared],
        per_token: bool = False,
        progress: Callable[[int], None] = lambda tokens: None,
    ) -> list[DocumentScore]:
        """The scores of prepared texts, in order; `progress` is called with the tokens of each pack, BOS left out.

        A document with a window that the memory does not suffice for, alone in its pack, gets the reason out_of_memory;
        a pack of several is made smaller (see `losses_in_packs`).
        """
        has_bos = self.model.tokens.bos is not None
        windows: list[list[int]] = []
        of_document: list[slice] = []
        for document in prepared:
            of_it = self.windows(document.tokens)
            of_document.append(slice(len(windows), len(windows) + len(of_it)))
            windows += of_it
        losses = losses_in_packs(
            windows,
            self.pack_tokens if self.tested.packing else 0,
            self.shortage,
            self.launch,
            lambda members: progress(sum(len(windows[i]) - has_bos for i in members)),
        )
        for document, its_windows in zip(prepared, of_document, strict=True):
            of_windows = [both for both in losses[its_windows] if both is not None]
            if len(of_windows) < its_windows.stop - its_windows.start:
                document.score.reason = "out_of_memory"
            if document.score.reason is None:
                document.score.set_losses(of_windows)
                _add_parts(document, of_windows, has_bos, per_token)
        return [document.score for document in prepared]

    def _encoded(
        self, documents: Sequence[Prepared], rule: Sequence[str]
    ) -> Sequence[tuple[list[int], NDArray[np.int64] | None]]:
        """Token ids of each document, and with a rule for steps where its tokens begin: that takes longer."""
        texts = [document.text for document in documents]
        if rule:
            return self.model.tokens.encode_with_starts(texts)
        return [(ids, None) for ids in self.model.tokens.encode(texts)]

    def windows(self, tokens: Sequence[int]) -> list[list[int]]:
        """The windows that a document's tokens are scored in, each with its BOS where the tokenizer has one."""
        bos = [] if self.model.tokens.bos is None else [self.model.tokens.bos]
        return [[*bos, *tokens[part.start : part.stop]] for part in cut(len(tokens), self.window, bool(bos))]

    def window_losses(self, windows: Sequence[Sequence[int]]) -> list[Losses]:
        """Losses [2, tokens − 1] of each window, base then reference, from one forked pass over all of them.

        A window's first token is not predicted, so it has no loss.
        """
        return self.launch(windows)()

    def launch(self, windows: Sequence[Sequence[int]]) -> Launched:
        """Launches the pass of `window_losses` on the device; what comes back waits for it."""
        return self._launch_losses(self.model.forward(windows, self.masked, self.fork_layer), windows)

    def losses_of(self, body: Any, windows: Sequence[Sequence[int]]) -> list[Losses]:
        """Losses [rows, tokens − 1] of each window, given the body's output for all of them, packed in their order."""
        return self._launch_losses(body, windows)()

    def _launch_losses(self, body: Any, windows: Sequence[Sequence[int]]) -> Launched:
        starts = np.cumsum([0, *map(len, windows)])
        predicting = np.concatenate([np.arange(s, s + len(w) - 1) for s, w in zip(starts, windows, strict=False)])
        targets = np.concatenate([np.asarray(w[1:], dtype=np.int64) for w in windows])
        predicting_N, target_N = to_device(np.stack([predicting, targets]), self.model.device)
        losses_BN = OnTheWay(self.model.output.losses(body, predicting_N, target_N))
        ends = np.cumsum([len(w) - 1 for w in windows])[:-1]
        return lambda: np.split(losses_BN.wait(), ends, axis=1)


def _arrived(model: Reference, heads: HeadSet, options: dict[str, Any]) -> Scorer:
    return Scorer(load_again(*model), heads, **options)


def _countable(text: object) -> str | bytes | None:
    return text if isinstance(text, str | bytes) else None


def _readable(text: object) -> Prepared:
    readable, reason = readable_text(text)
    if readable is None:
        return Prepared(DocumentScore(reason=reason))
    try:
        readable.encode()
    except UnicodeEncodeError:  # a lone surrogate
        return Prepared(DocumentScore(n_chars=len(readable), reason="invalid_utf8"))
    return Prepared(DocumentScore(n_chars=len(readable)), readable)


def check_heads(model: LanguageModel, heads: HeadSet) -> None:
    """Raises HeadsError where `heads` are none, are not the model's, or were detected on another one."""
    if not heads.heads:
        raise HeadsError("the set of heads is empty; nothing would be masked")
    model.check_heads(heads)
    mine = asdict(model.identity)
    for part in ("weights", "tokenizer"):
        theirs = (heads.model or {}).get(part)
        if theirs is not None and theirs != mine[part]:
            raise HeadsError(
                f"these heads were detected on {(heads.model or {}).get('name')}, whose {part} differ from those of "
                f"{mine['name']}; run `attention-influence detect` on the model that scores"
            )


def _add_parts(document: Prepared, windows: Sequence[Losses], has_bos: bool, per_token: bool) -> None:
    """Fills in the losses of each token and of each step, where they are asked for and finite."""
    if not per_token and document.in_steps is None:
        return
    by_token = _by_token(document.tokens, windows, has_bos)
    if per_token:
        document.score.token_losses = by_token
    if document.in_steps is not None and document.score.reason is None:
        document.score.steps = document.in_steps.steps(by_token.base, by_token.ref)


def _by_token(tokens: Sequence[int], parts: Iterable[Losses], bos: bool) -> TokenLosses:
    unscored = np.full((2, 0 if bos else 1), np.nan, dtype=np.float32)
    base, ref = np.concatenate([piece for part in parts for piece in (unscored, part)], axis=1)
    return TokenLosses(np.asarray(tokens, dtype=np.int64), base, ref)
