"""What bounds memory: batches, ranges and buckets so small that every one of them is used."""

import tempfile
from collections import Counter
from pathlib import Path
from unittest.mock import patch

import numpy as np
from by_sorting import in_rank_order, reference, selected
from hypothesis import given, settings
from hypothesis import strategies as st
from store_files import score_row, write_store

from attention_influence.selection import Rule
from attention_influence.selection.cutting import candidates, chosen, histogram
from attention_influence.selection.cutting.histogram import Histogram
from attention_influence.store import reader

values = st.one_of(st.sampled_from([0.5, 0.5, 0.25]), st.floats(-1, 1, width=32))
rows = st.lists(st.tuples(values, st.integers(0, 3), st.sampled_from("ab")), min_size=1, max_size=60)


@settings(max_examples=60, deadline=None)
@given(rows=rows, data=st.data(), tokens=st.booleans())
def test_the_smallest_batches_give_what_sorting_everything_does(rows, data, tokens):
    table = [score_row(f"x/{s}", n, i, domain=f"d{d}", n_tokens=n % 5) for n, (i, d, s) in enumerate(rows)]
    rule = Rule(top=0.6, by="tokens" if tokens else "documents")
    shuffled = data.draw(st.permutations(table))
    with (
        tempfile.TemporaryDirectory() as name,
        patch.object(candidates, "_ROWS_AT_A_TIME", 2),
        patch.object(chosen, "_BATCH_ROWS", 3),
        patch.object(reader, "_LARGE_BATCH_ROWS", 7),
        patch.object(histogram, "_MOST_CELLS", 16),
    ):
        store = write_store(Path(name), [shuffled[:9], shuffled[9:20], shuffled[20:]])
        found, thresholds = selected(store, rule)
    assert in_rank_order(found) == {name: keys for name, keys in reference([table], rule).items() if keys}
    assert [(row["source"], row["row"]) for row in found] == sorted((row["source"], row["row"]) for row in found)
    assert sum(t.ranked for t in thresholds) == len(table)


@given(
    st.lists(st.tuples(st.integers(0, 4), st.integers(0, 2**16 - 1), st.integers(0, 9)), min_size=1, max_size=50),
    st.sampled_from([4, 64, 1 << 20]),
)
def test_a_histogram_counts_every_row_once_in_the_order_of_buckets(rows, cells):
    counted = Histogram()
    with patch.object(histogram, "_MOST_CELLS", cells):
        for part in (rows[::2], rows[1::2]):
            counted.add(*(np.array([row[i] for row in part], dtype=np.int64) for i in range(3)))
    counted.reorder(range(5))
    documents, tokens = counted.descending()
    places = counted.places(np.array([bucket for _, bucket, _ in rows]))
    by_place, of_place = Counter(), Counter()
    for (group, _, more), place in zip(rows, places.tolist(), strict=True):
        by_place[group, place] += 1
        of_place[group, place] += more
    assert {tuple(at): int(documents[*at]) for at in np.argwhere(documents).tolist()} == by_place
    assert all(tokens[at] == total for at, total in of_place.items())
    ordered = sorted(zip((-bucket for _, bucket, _ in rows), places.tolist(), strict=True))
    assert [place for _, place in ordered] == sorted(places.tolist())
    assert [sums.tolist() for sums in counted.totals()] == [documents.sum(1).tolist(), tokens.sum(1).tolist()]
