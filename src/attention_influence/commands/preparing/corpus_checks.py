"""What `score` and `estimate` say of a corpus: before the model is loaded, and of rows without a score at the end."""

import sys
from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any

from attention_influence.corpus import Columns, Listing, list_sources, read_rows
from attention_influence.corpus.sources import left_out_line
from attention_influence.errors import CorpusError, CorruptFile, NoDocuments, TooManyBadRows

# If none of the first files has a named column, its name is wrong.
_FILES_LOOKED_AT = 20
# Rows before the share of bad ones is judged by --max-bad-rate; of fewer, whether hardly one has a score.
_JUDGED_AFTER = 1000
_HARDLY_ANY = 0.9
_ADVICE = {
    "invalid_json": "Are the files JSON lines, one object a line?",
    "not_an_object": "Are the files JSON lines, one object a line?",
    "invalid_utf8": "Are the files in another encoding, such as Latin-1? Convert them: iconv -f LATIN1 -t UTF-8",
} | dict.fromkeys(
    ("missing_text", "null_text", "empty", "whitespace", "not_a_string"),
    "Does --text-column name the column of the texts?",
)


def listed(corpus: Iterable[str], domains: Iterable[str], columns: Columns, out: str | None = None) -> Listing:
    """The files of a corpus, checked; what is left out goes to standard error.

    Raises what `list_sources` does, and CorpusError when the first files hold no documents, or all lack a column.
    """
    listing = list_sources(tuple(corpus), tuple(domains), columns.text, without=out)
    if (line := left_out_line(listing.left_out)) is not None:
        print(line, file=sys.stderr, flush=True)
    refused: list[CorpusError] = []
    for source in listing.sources:
        try:
            next(read_rows(source, columns), None)
            return listing
        except CorpusError as error:
            if isinstance(error, CorruptFile) and not isinstance(error, NoDocuments):
                continue  # costs that file, later
            refused.append(error)
            if len(refused) == _FILES_LOOKED_AT:
                break
    if refused:
        raise refused[0]
    return listing


def check_scored(store: str, records: Mapping[str, Mapping[str, Any]], max_bad_rate: float) -> None:
    """Raises TooManyBadRows when more of the finished units' rows than allowed have no score, or almost all."""
    rows = sum(about["rows"] for about in records.values())
    reasons: Counter[str] = Counter()
    for about in records.values():
        reasons.update(about["reasons"])
    bad = reasons.total()
    if bad <= max(max_bad_rate, 0.0 if rows >= _JUDGED_AFTER else _HARDLY_ANY) * rows:
        return
    counts = ", ".join(f"{count:,} {reason}" for reason, count in reasons.most_common())
    advice = _ADVICE.get(reasons.most_common(1)[0][0], "")
    raise TooManyBadRows(
        f"{bad:,} of {rows:,} rows have no score ({counts}). {advice} They are kept in {store}, with their reasons; "
        "--max-bad-rate 1 accepts them"
    )
