"""The tokenizer of an experiment: one that is given, or a byte-level BPE trained on the training documents."""

from collections.abc import Iterable, Iterator
from itertools import chain
from pathlib import Path
from typing import Any

from attention_influence.errors import UsageError

END = "<|endoftext|>"
"""Of a tokenizer that is trained here: begins and ends every document."""
# More text does not change which pairs of a small vocabulary are frequent.
_CHARACTERS = 200_000_000


def train_tokenizer(texts: Iterable[str], vocabulary: int, folder: Path) -> None:
    """Writes a byte-level BPE of `vocabulary` entries, trained on the first 200 million characters of the texts.

    Raises UsageError where the texts have too few different pairs for so many entries.
    """
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import PreTrainedTokenizerFast

    backend = Tokenizer(models.BPE())
    backend.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Digits(individual_digits=True), pre_tokenizers.ByteLevel(add_prefix_space=False)]
    )
    backend.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocabulary,
        special_tokens=[END],
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        show_progress=False,
    )
    backend.train_from_iterator(_first(texts), trainer)
    if backend.get_vocab_size() < vocabulary:
        raise UsageError(
            f"tokenizer.vocabulary is {vocabulary:,}, and the corpus gives only {backend.get_vocab_size():,} entries. "
            "Give that or less"
        )
    fast: Any = PreTrainedTokenizerFast
    fast(tokenizer_object=backend, bos_token=END, eos_token=END).save_pretrained(folder)


def open_tokenizer(name: str) -> Any:
    """A fast tokenizer by path or name. Raises UsageError."""
    from transformers import AutoTokenizer

    try:
        tokenizer = AutoTokenizer.from_pretrained(name)
    except Exception as error:  # of many kinds; all mean that it cannot be loaded
        raise UsageError(f"tokenizer: {name} cannot be loaded: {str(error).splitlines()[0]}") from error
    if not tokenizer.is_fast:
        raise UsageError(f"tokenizer: {name} is no fast tokenizer. Save it as tokenizer.json")
    return tokenizer


class DocumentEncoder:
    """Texts to the token ids that a network sees: the beginning, if the tokenizer has one, the text, the end.

    Names of special tokens in a text are text.
    """

    def __init__(self, tokenizer: Any) -> None:
        self._backend = tokenizer.backend_tokenizer
        self._backend.no_truncation()
        self._backend.no_padding()
        self._backend.encode_special_tokens = True
        self._before = [] if tokenizer.bos_token_id is None else [tokenizer.bos_token_id]
        self._after = [] if tokenizer.eos_token_id is None else [tokenizer.eos_token_id]
        self.vocabulary = len(tokenizer)

    def encode(self, texts: list[str]) -> Iterator[list[int]]:
        for encoding in self._backend.encode_batch_fast(texts, add_special_tokens=False):
            yield list(chain(self._before, encoding.ids, self._after))


def _first(texts: Iterable[str]) -> Iterator[str]:
    left = _CHARACTERS
    for text in texts:
        yield text
        left -= len(text)
        if left <= 0:
            return
