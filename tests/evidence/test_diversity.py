"""How varied a choice is, on clusters that were planted."""

import math
import sys

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from attention_influence.errors import UsageError
from attention_influence.evidence.diversity import (
    cluster,
    describe_clusters,
    effective_clusters,
    on_a_plane,
    spreads,
)
from attention_influence.evidence.embedding import load_embedder
from attention_influence.evidence.words import count_words


def planted(per_cluster: int = 30, clusters: int = 4, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """(embeddings, which cluster each was drawn around)."""
    rng = np.random.default_rng(seed)
    centres = np.eye(8)[:clusters]
    truth = np.repeat(np.arange(clusters), per_cluster)
    noisy = centres[truth] + rng.normal(0, 0.05, (len(truth), 8))
    return (noisy / np.linalg.norm(noisy, axis=1, keepdims=True)).astype(np.float32), truth


@given(st.lists(st.integers(0, 5), min_size=1, max_size=40))
def test_effective_clusters_lie_between_one_and_the_number_that_is_filled(labels):
    found = effective_clusters(np.array(labels))
    assert 1 - 1e-9 <= found <= len(set(labels)) + 1e-9


def test_effective_clusters_of_an_even_and_of_an_uneven_choice():
    assert effective_clusters(np.array([0, 1, 2, 3])) == pytest.approx(4)
    assert effective_clusters(np.array([0, 0, 0, 1])) == pytest.approx(
        math.exp(-0.75 * math.log(0.75) - 0.25 * math.log(0.25))
    )


def test_planted_clusters_are_never_mixed():
    embeddings, truth = planted()
    labels = cluster(embeddings, seed=0)
    assert len(set(labels)) == 12
    for one in set(labels):
        assert len(set(truth[labels == one])) == 1
    assert (cluster(embeddings, seed=0) == labels).all()


def test_a_choice_of_one_cluster_is_narrower_than_one_of_all_at_the_same_size():
    _, truth = planted()
    choices = {"one": truth == 0, "all": np.ones(len(truth), dtype=bool), "none": truth > 9}
    found = spreads(truth, choices, seed=0)
    assert set(found) == {"one", "all"}
    assert (found["one"].size, found["all"].size, found["all"].documents) == (30, 30, 120)
    assert found["one"].effective == pytest.approx(1)
    assert found["one"].interval == (1, 1)
    assert 3.5 < found["all"].interval[0] <= found["all"].effective <= found["all"].interval[1] <= 4


def test_clusters_are_named_by_their_own_words_and_ordered_by_what_was_kept():
    texts = ["the wool of sheep"] * 4 + ["the stars of night"] * 4
    counts, words = count_words(texts)
    labels, kept = np.array([0] * 4 + [1] * 4), np.array([False] * 4 + [True, True, False, False])
    night, sheep = describe_clusters(labels, kept, counts, words)
    assert set(night.words[:2]) == {"night", "stars"}
    assert set(sheep.words[:2]) == {"sheep", "wool"}
    assert [(one.documents, one.kept) for one in (night, sheep)] == [(4, 2), (4, 0)]


def test_the_plane_keeps_distances_that_lie_in_it():
    flat = np.zeros((6, 5), dtype=np.float32)
    flat[:, 1], flat[:, 3] = [0, 3, 0, 1, 2, 5], [0, 0, 4, 1, 7, 2]
    places, share = on_a_plane(flat)
    assert share == pytest.approx(1)
    for one in range(6):
        assert np.linalg.norm(places[one] - places[0]) == pytest.approx(np.linalg.norm(flat[one] - flat[0]), abs=1e-5)


def test_without_the_library_it_is_said_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "sentence_transformers", None)
    with pytest.raises(UsageError, match=r"attention-influence\[report\]"):
        load_embedder()
