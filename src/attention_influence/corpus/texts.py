"""Texts of a corpus, drawn at random."""

import random
from collections.abc import Sequence

from attention_influence.corpus.rows import Columns
from attention_influence.corpus.sample import draw_slices, drawn_rows, sample_rows
from attention_influence.corpus.sources import list_sources
from attention_influence.progress import stage

# Read of all inputs together, and of each at least, in stored bytes.
_BYTES = 16 << 20
_FEWEST_BYTES = 1 << 20


@stage("reading texts")
def draw_texts(inputs: Sequence[str], text_column: str, most: int, seed: int) -> dict[str, list[str]]:
    """Input → some of its texts, drawn evenly over its files and in their order: at most an equal share of `most`.

    The same for the same seed, whatever the order of the inputs. Raises CorpusError when an input is missing or none of
    its files can be read.
    """
    different = list(dict.fromkeys(inputs))
    size = max(_BYTES // len(different), _FEWEST_BYTES)
    share = max(most // len(different), 1)
    texts = {}
    for name in different:
        _, rows = sample_rows(list_sources([name], needed=text_column).sources, Columns(text_column), size, seed)
        readable = [row.text for _, row in rows if row.text is not None]
        if len(readable) > share:
            chosen = random.Random(seed).sample(range(len(readable)), share)
            readable = [readable[at] for at in sorted(chosen)]
        texts[name] = readable
    return texts


def draw_documents(inputs: Sequence[str], columns: Columns, tokens: int, seed: int) -> list[tuple[str, str]]:
    """(domain, text) of a random sample of about `tokens` tokens, each row of the inputs equally likely to be in it."""
    drawn, _ = draw_slices(list_sources(inputs, needed=columns.text).sources, tokens, seed)
    return [(row.domain, row.text) for rows in drawn_rows(drawn, columns) for _, row in rows if row.text is not None]
