"""Agreement of two rankings, against scipy and against sets."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import spearmanr

from attention_influence.evidence.statistics import in_top, overlap
from attention_influence.rank_correlation import spearman

VALUES = st.lists(st.tuples(st.integers(-3, 3), st.integers(-3, 3)), min_size=2, max_size=30)


@given(VALUES)
def test_spearman_is_scipys_with_ties(pairs):
    a, b = zip(*pairs, strict=True)
    if len(set(a)) == 1 or len(set(b)) == 1:
        assert spearman(a, b) is None
    else:
        assert spearman(a, b) == pytest.approx(spearmanr(a, b).statistic)


@given(st.lists(st.integers(-3, 3), min_size=1, max_size=30), st.sampled_from([0.01, 0.2, 0.5, 1.0]))
def test_the_top_share_is_rounded_up_and_ties_go_by_the_tie_keys(values, share):
    ties = list(range(len(values)))[::-1]
    ranked = sorted(range(len(values)), key=lambda i: (-values[i], ties[i]))
    expected = set(ranked[: math.ceil(share * len(values))])
    assert set(np.flatnonzero(in_top(values, share, ties))) == expected


def test_overlap_counts_what_both_chose():
    found = overlap(np.array([True, True, False, False]), np.array([False, True, True, False]))
    assert (found.both, found.chosen, found.share, found.chance) == (1, 2, 0.5, 0.5)
