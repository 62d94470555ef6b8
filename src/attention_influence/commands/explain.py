"""`explain`: one document's score in its parts, on the terminal, as data and as a page."""

import sys
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from attention_influence.commands.printing.explain_text import explanation_text
from attention_influence.commands.printing.result import Result
from attention_influence.config import ExplainConfig, LoadOptions
from attention_influence.errors import CorpusError, ModelError, StoreError, UsageError
from attention_influence.heads.head_set import HeadSet, load_heads
from attention_influence.progress import stage
from attention_influence.report.explanation import write_explanation
from attention_influence.report.texts import texts_at
from attention_influence.storage.atomic_files import read_if_there
from attention_influence.storage.filesystems import open_filesystem
from attention_influence.storage.preflight import check_writable_file
from attention_influence.store.find import Key, find_row, keys_with_id
from attention_influence.store.reader import ScoreStore, open_store

if TYPE_CHECKING:  # torch takes seconds, and a document that does not exist is known before
    from attention_influence.model.language_model import LanguageModel
    from attention_influence.scoring.explain import Explanation
    from attention_influence.scoring.scorer import Scorer

# Rounding differs from pack to pack by about the noise floor; in fp32 that is nearly nothing.
_NOISE_FLOORS, _ROUNDING = 2.0, 1e-5
_INPUTS = ("key", "id", "text", "file")


@dataclass(frozen=True)
class _Document:
    """What is explained; `row` is what the store holds of it, None for a text that is given."""

    text: str
    row: dict[str, Any] | None = None

    @property
    def key(self) -> str | None:
        return None if self.row is None else f"{self.row['source']}:{self.row['row']}"


def explain_command(config: ExplainConfig) -> Result:
    _check(config)
    store = open_store(config.store) if config.store is not None else None
    if config.out is not None:
        check_writable_file(config.out)
    document = _document(config, store)
    from attention_influence.scoring.explain import explain

    scorer = _scorer(config, store)
    explanation = explain(scorer, document.text, most=config.tokens, each_head=config.each_head)
    about = _about(document, scorer, explanation)
    warnings = _warnings(store, document, scorer, explanation)
    if config.out is not None:
        write_explanation(config.out, explanation, about, warnings)
    text = explanation_text(explanation, about, warnings, config.out)
    return Result(text, _data(document, store, scorer, explanation, warnings, config.out))


def _check(config: ExplainConfig) -> None:
    given = [name for name in _INPUTS if getattr(config, name) is not None]
    if len(given) != 1:
        options = ", ".join(f"--{name}" for name in _INPUTS)
        raise UsageError(
            f"{' and '.join(f'--{name}' for name in given)} exclude each other: explain takes one document at a time"
            if given
            else f"which document? Give one of {options}; --key and --id after the score store that holds it"
        )
    if config.store is None and given[0] in ("key", "id"):
        raise UsageError(f"--{given[0]} names a document of a score store: explain STORE --{given[0]} …")
    if config.store is None and config.model is None:
        raise UsageError("--model is missing: a text needs a model, its own or that of a score store")
    if config.store is not None and config.window is not None:
        raise UsageError("--window belongs to a text without a store: a store's scores are of its own window")


def _document(config: ExplainConfig, store: ScoreStore | None) -> _Document:
    if config.text is not None:
        return _Document(config.text)
    if config.file is not None:
        return _Document(_read(config.file))
    assert store is not None
    with stage("looking for the document"):
        row = find_row(store, _key(config, store))
    document = _Document("", row)
    if row["loss_base"] is None:
        raise UsageError(f"{document.key} has no score (reason: {row['reason']}). Choose another document")
    key = (row["source"], row["row"])
    texts, problems = texts_at(store, [key])
    if key not in texts:
        raise CorpusError(
            f"{document.key} cannot be read: {'; '.join(problems) or 'it is no text any more'}. Put the file back, or "
            "give the text itself: --file"
        )
    return _Document(texts[key], row)


def _key(config: ExplainConfig, store: ScoreStore) -> Key:
    if config.key is not None:
        source, colon, row = config.key.rpartition(":")
        if not colon or not row.isdecimal():
            raise UsageError(f"--key is {config.key!r}; write it as SOURCE:ROW, such as corpus/a.jsonl:0")
        return source, int(row)
    assert config.id is not None
    keys = keys_with_id(store, config.id)
    if len(keys) > 1:
        listed = ", ".join(f"{source}:{row}" for source, row in keys[:5])
        more = f" and {len(keys) - 5:,} more" if len(keys) > 5 else ""
        raise UsageError(f"the id {config.id!r} occurs {len(keys):,} times: {listed}{more}. Name one with --key")
    return keys[0]


def _read(file: str) -> str:
    if file == "-":
        content = sys.stdin.buffer.read()
    else:
        filesystem, path = open_filesystem(file)
        if filesystem.isdir(path):
            raise UsageError(f"--file {file} is a folder; give one file with the text")
        if (found := read_if_there(file)) is None:
            raise UsageError(f"--file {file}: no such file")
        content = found
    try:
        return content.decode("utf-8")
    except UnicodeDecodeError as error:
        raise UsageError(f"--file {file} is not UTF-8 ({error.reason} at byte {error.start}); convert it") from None


def _scorer(config: ExplainConfig, store: ScoreStore | None) -> "Scorer":
    from attention_influence.commands.preparing.loading import load
    from attention_influence.scoring.scorer import Scorer

    scored_with = {} if store is None else store.run["fingerprint"]
    options = LoadOptions(
        dtype=scored_with.get("precision") or config.dtype or "bf16",
        device=config.device,
        revision=config.revision,
        trust_remote_code=config.trust_remote_code,
    )
    if store is None:
        assert config.model is not None
        heads = load_heads(config.heads or "heads.json")
        return Scorer(load(config.model, options), heads, window=config.window)
    if config.dtype not in (None, options.dtype):
        raise _differs(store, "precision", options.dtype, config.dtype)
    chosen = HeadSet(tuple((layer, head) for layer, head in scored_with["heads"]))
    if config.heads is not None and sorted(load_heads(config.heads)) != sorted(chosen):
        raise _differs(store, "heads", f"{len(chosen)} heads", f"those of {config.heads}")
    model = _model_of(config, store, options)
    for part in ("weights", "tokenizer"):
        if getattr(model.identity, part) != scored_with[part]:
            raise _differs(store, part, f"those of {store.run['model']['name']}", f"those of {model.identity.name}")
    return Scorer(model, chosen, window=scored_with["window"], max_document_tokens=scored_with["max_document_tokens"])


def _model_of(config: ExplainConfig, store: ScoreStore, options: LoadOptions) -> "LanguageModel":
    from attention_influence.commands.preparing.loading import load

    if config.model is not None:
        return load(config.model, options)
    began = store.run["configuration"]
    try:
        return load(began["model"], replace(options, revision=config.revision or began["revision"]))
    except ModelError as error:
        raise ModelError(
            f"{error}. This is where the run of {store.url} had its model; say with --model where it is now"
        ) from error


def _differs(store: ScoreStore, what: str, theirs: object, ours: object) -> StoreError:
    return StoreError(
        f"{store.url} was scored with other {what} ({theirs}, now {ours}), so this would not explain its scores. Give "
        "the same, or explain the text without the store: --file, --model and --heads"
    )


def _warnings(store: ScoreStore | None, document: _Document, scorer: "Scorer", explanation: "Explanation") -> list[str]:
    """Where the losses are not those that the store holds."""
    difference = _difference(document, explanation)
    if store is None or difference is None:
        return []
    noise = max(scorer.tested.noise, store.run.get("noise_floor") or 0.0)
    if difference <= max(_NOISE_FLOORS * noise, _ROUNDING):
        return []
    versions = ", ".join(f"{name} {value}" for name, value in (store.run.get("versions") or {}).items())
    return [
        f"the influence differs by {difference:.1e} from the one in the store, which is more than rounding explains "
        f"(noise floor {noise:.1e}). The store was scored with {versions}"
    ]


def _difference(document: _Document, explanation: "Explanation") -> float | None:
    """Of influence, from what the store holds."""
    stored, now = (document.row or {}).get("influence"), explanation.score.influence
    return None if stored is None or now is None else abs(stored - now)


def _about(document: _Document, scorer: "Scorer", explanation: "Explanation") -> dict[str, str]:
    """What was explained, and with what."""
    score, row = explanation.score, document.row or {}
    about = {name: str(row[name]) for name in ("id", "domain") if row.get(name) is not None}
    if document.key is not None:
        about = {"document": document.key} | about
    about["rise"] = f"{explanation.rise:.4f} nats/token"
    about["tokens"] = f"{score.n_tokens:,}"
    if score.n_scored != score.n_tokens:
        about["scored tokens"] = f"{score.n_scored:,}"
    if score.n_windows != 1:
        about["windows"] = f"{score.n_windows:,} of at most {scorer.window:,} tokens"
    about |= {
        name: f"{value:.3f}"
        for name, value in (
            ("copied", score.copy_share),
            ("repeated", score.repeat_share),
            ("compression", score.compression),
        )
        if value is not None
    }
    if score.flag is not None:
        about["flag"] = score.flag
    about["heads"] = f"{len(scorer.heads)}, from layer {scorer.fork_layer} on"
    about["model"] = scorer.model.identity.name
    if (difference := _difference(document, explanation)) is not None:
        about["stored influence"] = f"{row['influence']:.4f}, difference {difference:.1e}"
    return about


def _data(
    document: _Document,
    store: ScoreStore | None,
    scorer: "Scorer",
    explanation: "Explanation",
    warnings: list[str],
    page: str | None,
) -> dict[str, Any]:
    return {
        "store": store and store.url,
        "stored": document.row,
        "model": scorer.model.identity.name,
        "masked": sorted(list(head) for head in scorer.heads),
        "window": scorer.window,
        "noise_floor": scorer.tested.noise,
        **explanation.to_dict(),
        "page": page,
        "warnings": warnings,
    }
