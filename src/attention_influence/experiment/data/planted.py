"""A planted effect: an experiment in which the right choice of documents must help, or the experiment proves nothing.

A fifth of the documents can only be predicted by looking up what stood before: lists of random pairs, asked for again.
The others are chains of the same words, in which each word depends on the one before it. A column of the corpus says
which is which, so an arm that is trained on the highest values must do better at looking up than an arm that is trained
on as many random tokens.
"""

import json
import random
from pathlib import Path

import yaml

from attention_influence.storage.atomic_files import write_result

COLUMN = "retrieval"
TASK = "lookup"
METRIC = f"answer loss: {TASK}"
_RICH_SHARE = 0.2
_FIRSTS = [a + b for a in "bdgk" for b in "aeio"]
_SECONDS = [a + b for a in "lmnr" for b in "aeio"]
_PAIRS = 4
_DOCUMENT_WORDS = 30
_CONTEXT, _BATCH_TOKENS = 256, 512  # rows of many documents, as a row cuts the one at its end in two
_FOLLOWERS = 4
_ITEMS = 200
_BEGIN, _END, _UNKNOWN = "<s>", "</s>", "<unk>"


def write_planted(folder: Path, documents: int = 20_000, tokens: int = 250_000, seeds: int = 3, seed: int = 0) -> Path:
    """Writes corpus, items, tokenizer and the configuration of an experiment with them; the path of the latter.

    The experiment trains networks of 84,000 parameters, `tokens` tokens each, on the documents of the highest values
    and on as many random ones.
    """
    rng = random.Random(seed)
    followers = {word: rng.choices(_FIRSTS + _SECONDS, k=_FOLLOWERS) for word in _FIRSTS + _SECONDS}
    lines = []
    for number in range(documents):
        is_rich = number % round(1 / _RICH_SHARE) == 0
        words = _pairs(rng) if is_rich else _chain(rng, followers)
        lines.append({"text": " ".join(words), COLUMN: round(is_rich + rng.random(), 6)})
    items = [_item(rng) for _ in range(_ITEMS)]
    folder.mkdir(parents=True, exist_ok=True)
    for name, records in (("corpus.jsonl", lines), ("lookup.jsonl", items)):
        write_result(str(folder / name), "".join(json.dumps(record) + "\n" for record in records).encode())
    _write_tokenizer(folder / "tokenizer")
    path = folder / "experiment.yaml"
    write_result(str(path), yaml.safe_dump(_configuration(folder, tokens, seeds), sort_keys=False).encode())
    return path


def _pairs(rng: random.Random) -> list[str]:
    """Pairs, then the same ones again and again in other orders."""
    pairs = _draw(rng)
    words: list[str] = []
    while len(words) < _DOCUMENT_WORDS:
        words += [word for pair in rng.sample(pairs, _PAIRS) for word in pair]
    return words[:_DOCUMENT_WORDS]


def _chain(rng: random.Random, followers: dict[str, list[str]]) -> list[str]:
    words = [rng.choice(_FIRSTS)]
    while len(words) < _DOCUMENT_WORDS:
        words.append(rng.choice(followers[words[-1]]))
    return words


def _item(rng: random.Random) -> dict[str, str]:
    """Pairs, and the second word of one of them to be looked up."""
    pairs = _draw(rng)
    first, second = rng.choice(pairs)
    listed = " ".join(word for pair in pairs for word in pair)
    return {"task": TASK, "prompt": f"{listed} {first}", "answer": f" {second}"}


def _draw(rng: random.Random) -> list[tuple[str, str]]:
    return list(zip(rng.sample(_FIRSTS, _PAIRS), rng.sample(_SECONDS, _PAIRS), strict=True))


def _write_tokenizer(folder: Path) -> None:
    """One token a word."""
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    entries = [_BEGIN, _END, _UNKNOWN, *_FIRSTS, *_SECONDS]
    backend = Tokenizer(models.WordLevel({entry: i for i, entry in enumerate(entries)}, unk_token=_UNKNOWN))
    backend.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    tokenizer = PreTrainedTokenizerFast(  # type: ignore[no-untyped-call]
        tokenizer_object=backend, bos_token=_BEGIN, eos_token=_END, unk_token=_UNKNOWN
    )
    tokenizer.save_pretrained(folder)


def _configuration(folder: Path, tokens: int, seeds: int) -> dict[str, object]:
    folder = folder.absolute()
    return {
        "corpus": [str(folder / "corpus.jsonl")],
        "tokenizer": str(folder / "tokenizer"),
        "model": {
            "model_type": "llama",
            "hidden_size": 64,
            "intermediate_size": 128,
            "num_hidden_layers": 2,
            "num_attention_heads": 2,
            "num_key_value_heads": 2,
            "tie_word_embeddings": True,
        },
        "tokens": tokens,
        "arms": {
            "selected": {"only": f"column {COLUMN}", "share": _RICH_SHARE},
            "random": {"only": "random", "share": "like selected"},
        },
        "seeds": seeds,
        "recipe": {"batch_tokens": _BATCH_TOKENS, "context": _CONTEXT, "learning_rate": 0.005, "warmup": 0.05},
        "evaluation": {"items": [str(folder / "lookup.jsonl")], "probes": 50},
        "planted": {"arm": "selected", "baseline": "random", "metric": METRIC},
    }
