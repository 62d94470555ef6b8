from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

from attention_influence.errors import StoreError, UsageError
from attention_influence.experiment.data.token_file import read_documents, read_held_out, read_record
from attention_influence.experiment.plan import Run, freeze
from experiment.experiments import ARMS, TINY, plan_of, write_corpus, write_store


def test_a_share_is_exact_in_tokens_and_takes_the_first_by_rank(tmp_path: Path) -> None:
    plan = plan_of(tmp_path)
    documents = read_documents(plan.data_folder)
    pool = plan.pool(Run("selected", 0), documents)
    again = pool.copy == 1
    chosen, tokens = pool.document[again], pool.tokens[again]
    for number in range(2):
        of_domain = documents.domain == number
        wanted = int(Fraction(2, 10) * int(documents.tokens[of_domain].sum()))
        # Influence falls with the place in the file, which is how documents lie.
        expected, left = {}, wanted
        for place in np.flatnonzero(of_domain).tolist():
            if left > 0:
                expected[place] = min(left, int(documents.tokens[place]))
                left -= expected[place]
        mine = documents.domain[chosen] == number
        assert dict(zip(chosen[mine].tolist(), tokens[mine].tolist(), strict=True)) == expected


def test_random_adds_as_many_tokens_of_each_domain_and_other_documents_for_each_seed(tmp_path: Path) -> None:
    plan = plan_of(tmp_path)
    documents = read_documents(plan.data_folder)
    pools = [plan.pool(Run(arm, seed), documents) for arm, seed in (("selected", 0), ("random", 0), ("random", 1))]
    added = [[int(p.tokens[(p.copy == 1) & (documents.domain[p.document] == d)].sum()) for d in (0, 1)] for p in pools]
    assert added[0] == added[1] == added[2]
    assert pools[0].epoch_tokens == pools[1].epoch_tokens
    drawn = [set(pool.document[pool.copy == 1].tolist()) for pool in pools]
    assert drawn[0] != drawn[1] != drawn[2]


def test_only_is_the_selected_alone(tmp_path: Path) -> None:
    plan = plan_of(tmp_path)
    documents = read_documents(plan.data_folder)
    pool = plan.pool(Run("only", 0), documents)
    assert pool.epoch_tokens == sum(int(0.1 * tokens) for tokens in documents.of_domains().tolist())
    [arm] = [arm for arm in plan.arms if arm.name == "only"]
    assert [part.name for part in arm.parts] == ["added"]
    assert arm.parts[0].epochs == 1280 / pool.epoch_tokens


def test_what_arms_have_in_common_comes_in_the_same_order(tmp_path: Path) -> None:
    plan = plan_of(tmp_path)
    documents = read_documents(plan.data_folder)
    orders = []
    for arm in ("corpus", "selected"):
        pool = plan.pool(Run(arm, 1), documents)
        order = pool.order(documents, 1, 3)
        orders.append(pool.document[order[pool.copy[order] == 0]].tolist())
    assert orders[0] == orders[1] != list(range(len(documents)))
    pool = plan.pool(Run("corpus", 1), documents)
    assert pool.document[pool.order(documents, 0, 3)].tolist() != orders[0]
    assert pool.document[pool.order(documents, 1, 4)].tolist() != orders[0]


def test_length_matched_documents_have_the_lengths_of_the_selected(tmp_path: Path) -> None:
    arms = ARMS + "  matched: {add: length-matched, share: like selected}\n  long: {add: length, share: 0.2}\n"
    arms += "  longest: {add: length-matched, share: like long}\n"
    plan = plan_of(tmp_path, arms=arms)
    documents = read_documents(plan.data_folder)

    def added(arm: str) -> tuple[set[int], int, float]:
        pool = plan.pool(Run(arm, 0), documents)
        chosen = pool.document[pool.copy == 1]
        return set(chosen.tolist()), int(pool.tokens[pool.copy == 1].sum()), float(documents.tokens[chosen].mean())

    selected, matched, long, longest = map(added, ("selected", "matched", "long", "longest"))
    assert matched[1] == selected[1]
    assert longest[1] == long[1]
    assert matched[0] != selected[0]
    assert abs(longest[2] / long[2] - 1) < 0.15 < long[2] / documents.tokens.mean() - 1


def test_a_column_of_the_corpus_ranks_without_a_store(tmp_path: Path) -> None:
    arms = (
        "arms:\n  good: {only: column quality, share: 0.5}\n  bad: {only: column quality, share: 0.5, lowest: true}\n"
    )
    plan = plan_of(tmp_path, arms=arms, with_store=False)
    documents = read_documents(plan.data_folder)
    good, bad = (set(plan.pool(Run(arm, 0), documents).document.tolist()) for arm in ("good", "bad"))
    # The document that is cut at half of the tokens is in both.
    assert good | bad == set(range(len(documents)))
    assert len(good & bad) <= 2


@pytest.mark.parametrize(
    ("arms", "says"),
    [
        (
            "a: {add: column missing, share: 0.1}",
            "arms.a: .* has no column 'missing'; there are: text, domain, quality",
        ),
        ("a: {add: edu, share: 0.1}", "arms.a: There is no ranking 'edu'"),
        (
            "a: {add: influence, share: 0.9}",
            "arms.a: influence gives .* tokens of domain 'land', fewer than the .* share 0.9",
        ),
    ],
)
def test_what_a_store_cannot_give_is_refused(tmp_path: Path, arms: str, says: str) -> None:
    write_store(tmp_path / "scores", write_corpus(tmp_path / "corpus"), without=20)
    with pytest.raises(UsageError, match=says):
        plan_of(tmp_path, arms=f"arms:\n  {arms}\n")


def test_held_out_documents_are_in_no_arm_and_the_same_for_all(tmp_path: Path) -> None:
    plan = plan_of(tmp_path)
    record, documents = read_record(plan.data_folder), read_documents(plan.data_folder)
    held_out = read_held_out(plan.data_folder)
    assert record is not None
    assert len(documents) + record["held_out"] == 120
    assert 0 < sum(map(len, held_out.values())) == record["held_out"] < 30
    rows = {(source, row) for source, row in zip(documents.source.tolist(), documents.row.tolist(), strict=True)}
    assert len(rows) == len(documents)


def test_a_store_of_other_files_is_refused(tmp_path: Path) -> None:
    write_store(tmp_path / "scores", write_corpus(tmp_path / "other"))
    with pytest.raises(UsageError, match=r"arms\.selected: .*ranks none of the 108 training documents"):
        plan_of(tmp_path)


def test_files_that_changed_since_they_were_scored_are_refused(tmp_path: Path) -> None:
    write_store(tmp_path / "scores", write_corpus(tmp_path / "corpus", documents=61))
    with pytest.raises(StoreError, match=r"land\.jsonl: changed since it was scored"):
        plan_of(tmp_path)


def test_another_configuration_in_the_same_folder_is_refused_with_what_differs(tmp_path: Path) -> None:
    plan = plan_of(tmp_path)
    freeze(plan)
    assert plan_of(tmp_path) == plan
    assert plan_of(tmp_path, more=TINY.replace("seeds: 2", "seeds: 3")).runs != plan.runs
    plan_of(tmp_path, arms=ARMS + "  more: {add: random, share: 0.1}\n")
    with pytest.raises(UsageError, match=r"recipe\.learning_rate was 0\.01 and is 0\.02 in arms\.yaml"):
        plan_of(tmp_path, more=TINY.replace("1e-2", "2e-2"))
    with pytest.raises(UsageError, match=r"arms\.selected\.share was 0\.2 and is 0\.25"):
        plan_of(tmp_path, arms=ARMS.replace("0.2", "0.25"))
    (tmp_path / "corpus" / "more.jsonl").write_text('{"text": "one more"}\n')
    with pytest.raises(UsageError, match="corpus was"):
        plan_of(tmp_path)
