"""How many tokens a run will score, and how many it has scored already: an estimate, for the time that is left."""

from contextlib import suppress

from attention_influence.corpus import Columns, Listing, read_rows
from attention_influence.corpus.formats import format_of
from attention_influence.corpus.slices import BYTES_PER_TOKEN
from attention_influence.errors import CorpusError
from attention_influence.scoring.scorer import Scorer
from attention_influence.store.run import RunStore

# Text over stored size where that is compressed.
_EXPANSION = 3
_SAMPLE_ROWS, _SAMPLE_CHARS = 100, 2_000


def expected_tokens(
    store: RunStore, listing: Listing, scorer: Scorer, columns: Columns, share: float
) -> tuple[float, float]:
    """(tokens of that share of the corpus, by its bytes and the tokens of its first rows; those of finished units)."""
    compressed = sum(source.size for source in listing.sources if source.compression or format_of(source).IS_COMPRESSED)
    plain = sum(source.size for source in listing.sources) - compressed
    tokens = share * (plain + _EXPANSION * compressed) / _bytes_per_token(listing, scorer, columns)
    return tokens, tokens * len(store.published()) / max(len(store.units), 1)


def _bytes_per_token(listing: Listing, scorer: Scorer, columns: Columns) -> float:
    texts: list[str] = []
    with suppress(CorpusError):
        rows = next(read_rows(listing.sources[0], columns), [])
        texts = [row.text[:_SAMPLE_CHARS] for row in rows[:_SAMPLE_ROWS] if row.text]
    tokens = sum(document.score.n_tokens or 0 for document in scorer.prepare(texts))
    return sum(len(text.encode(errors="replace")) for text in texts) / tokens if tokens else BYTES_PER_TOKEN
