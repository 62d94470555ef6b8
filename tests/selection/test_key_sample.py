import numpy as np
import pyarrow as pa
from hypothesis import given
from hypothesis import strategies as st

from attention_influence.selection.key_sample import DomainSamples, KeySample

batches = st.lists(st.lists(st.integers(0, 2**64 - 1), max_size=12), min_size=1, max_size=8)


@given(batches, st.integers(1, 10))
def test_the_sample_is_the_rows_of_smallest_hash_in_order(batches, most):
    every = list(dict.fromkeys(value for batch in batches for value in batch))
    seen, sample = set(), KeySample(most)
    for batch in batches:
        new = [value for value in dict.fromkeys(batch) if value not in seen]
        seen.update(new)
        sample.add(pa.table({"v": pa.array(new, pa.uint64())}), np.array(new, dtype=np.uint64))
    assert sample.rows()["v"].to_pylist() == sorted(every)[:most]
    assert sample.is_full == (len(every) > most)
    assert sample.bound >= max(sorted(every)[:most], default=0)


def test_rows_above_a_given_bound_are_no_part_of_it():
    sample = KeySample(10, bound=5)
    sample.add(pa.table({"v": [7, 5, 1]}), np.array([7, 5, 1], dtype=np.uint64))
    assert sample.rows()["v"].to_pylist() == [1, 5]
    assert not sample.is_full


@given(
    st.lists(
        st.tuples(st.sampled_from("abc"), st.booleans(), st.integers(0, 2**40)), max_size=40, unique_by=lambda r: r[2]
    ),
    st.integers(1, 5),
    st.integers(1, 7),
)
def test_domain_samples_are_the_counted_rows_of_smallest_hash_of_each_domain(rows, most, lot):
    samples = DomainSamples(most)
    for start in range(0, len(rows), lot):
        names, counted, hashes = zip(*rows[start : start + lot], strict=True)
        table = pa.table({"domain": names, "hash": hashes})
        samples.add(table, np.array(hashes, dtype=np.uint64), np.array(counted))
    expected = {
        name: sorted(hash_ for domain, counted, hash_ in rows if counted and domain == name)[:most]
        for name in sorted({domain for domain, _, _ in rows})
    }
    assert {name: table["hash"].to_pylist() for name, table in samples.rows().items()} == expected
