"""What the page says beyond the store's own figures: checks, stability, validity, commands."""

import json
import re
import shlex

import numpy as np
import pytest

from attention_influence.cli import COMMANDS, make_parser
from attention_influence.config import ScoreConfig
from attention_influence.config.options import from_arguments
from attention_influence.errors import CorpusError
from attention_influence.report.page import Inputs, write_report
from attention_influence.report.sample import draw_sample
from attention_influence.report.sections.reading import choose_examples
from attention_influence.report.store_statistics import read_store
from attention_influence.selection import select
from attention_influence.selection.record import read_selection
from attention_influence.store.reader import open_store

from .given_files import STABILITY, VALIDITY, judged_record, ranked_by, trained_record
from .stores import scored, unscored, write_store
from .test_page import HEADS, Page


def page_of(tmp_path, rows, given=None, **run) -> Page:
    paths = {}
    for name, record in (given or {}).items():
        paths[name] = tmp_path / f"{name}.json"
        paths[name].write_text(json.dumps(record))
    store = write_store(tmp_path / "store", rows, **run)
    write_report(tmp_path / "r.html", store, Inputs(**paths, text_of=lambda source, row: "some words"))
    return Page(tmp_path / "r.html")


def test_stability_and_validity_are_shown_and_judged(tmp_path):
    rows = [scored(row, row / 10) for row in range(9)]
    page = page_of(tmp_path, rows, {"heads": HEADS, "stability": STABILITY, "validity": VALIDITY})
    assert ["seed", "1", "93%", "5%", "0.70", "90%"] in page.rows
    assert [
        "retrieval",
        "20",
        "1.500",
        "0.800",
        "0.200",
        "0.600",
        "0.500 to 0.700",
        "leans on these heads",
    ] in page.rows
    text = " ".join(page.text.split())
    assert "2 of 3 are chosen in at least 95% of draws of the probes; the set least alike, with another context" in text
    assert "1 of 2 tasks lean on them: retrieval." in text
    # The set of another context shares only half.
    assert text.index("Would other probes") < text.index("Do these heads matter")


def test_what_was_not_measured_is_called_not_known(tmp_path):
    text = " ".join(page_of(tmp_path, [scored(0, 0.1)]).text.split())
    assert "Not known Would other probes find the same heads?" in text
    assert "Not known Do these heads matter" in text
    assert "What does a judge say? Not known: run attention-influence judge" in text
    assert "Does it help training? Not known: run attention-influence experiment" in text


def test_what_a_judge_says_is_shown(tmp_path):
    store = f"{tmp_path}/store"
    page = page_of(tmp_path, [scored(0, 0.5)], {"judge": judged_record(store)})
    interval, more = "0.84 to 1.00", "0.24 to 0.70"
    assert ["all", "influence", "20", "100%", interval, "0.50", more] in page.rows
    assert ["domain 00", "random", "20", "50%", "0.30 to 0.70", "—", "—"] in page.rows
    assert ["reasoning", "random", "0% of 7", "0% of 6", "0% of 7"] in page.rows
    text = " ".join(page.text.split())
    assert "the-judge at http://host/v1: 40 documents, at most 20 of each domain and ranking" in text
    assert "40 answered, 2 malformed" in text
    assert "Reasoning: repeats agree on 100% of 40 pairs, Cohen's kappa —." in text
    assert "fingerprints differ" not in text
    assert text.index("Read with care") < text.index("the judge answers reasoning nearly always alike")


def test_a_local_judge_has_probabilities_and_no_endpoint(tmp_path):
    page = page_of(tmp_path, [scored(0, 0.5)], {"judge": judged_record(f"{tmp_path}/store", local=True)})
    row = next(row for row in page.rows if row[:2] == ["all", "influence"])
    # All of one ranking have 0.9, of the other half 0.9 and half 0.4.
    assert row[:6] == ["all", "influence", "20", "100%", "0.84 to 1.00", "0.50"]
    assert row[7:9] == ["0.900", "0.250"]
    text = " ".join(page.text.split())
    assert "tiny, a local model, by the more probable of true and false: 40 documents" in text
    assert "mean P(true) 0." in text


def test_a_judge_of_other_scores_is_named_and_few_domains_are_shown(tmp_path):
    page = page_of(tmp_path, [scored(0, 0.5)], {"judge": judged_record("s3://other/scores", domains=20, window=512)})
    text = " ".join(page.text.split())
    assert "drawn by other scores, those of s3://other/scores: the fingerprints differ" in text
    assert "8 more are in the file" in text
    assert sum(row[:2] == ["domain 11", "random"] for row in page.rows) == 2
    assert not any(row[:1] == ["domain 12"] for row in page.rows)


def test_what_training_shows_is_shown_with_intervals_and_verdicts(tmp_path):
    planted = {"arm": "selected", "baseline": "random", "metric": "probe loss"}
    page = page_of(tmp_path, [scored(0, 0.5)], {"experiment": trained_record(planted=planted)})
    assert ["probe loss", "nats/token", "2.0500", "2.1100", "1.1100"] in page.rows
    row = next(row for row in page.rows if row[:2] == ["probe loss", "selected"])
    # Against the corpus there are two seeds: −0.98 and −0.99, so ± 0.005 times t of one degree of freedom.
    assert row == ["probe loss", "selected", "−0.9850", "−1.0485 to −0.9215", "2", "0.006", "better"]
    assert any(row[:2] == ["bits per byte", "selected"] and row[-1] == "no difference shown" for row in page.rows)
    text = " ".join(page.text.split())
    assert "8 networks: 3 arms, up to 3 seeds each. 1 runs are missing, so what follows is preliminary." in text
    assert "planted effect found: probe loss, selected minus random: −1.000 nats/token" in text
    assert "by other scores" not in text
    assert "with 2 seeds, intervals are Student's t" in text
    assert 'aria-label="Training loss over tokens; at the end corpus 3.000' in page.source


def test_an_experiment_that_ranked_by_other_scores_is_named(tmp_path):
    given = {"experiment": trained_record() | {"plan": ranked_by({"window": 512})}}
    text = " ".join(page_of(tmp_path, [scored(0, 0.5)], given).text.split())
    assert "It ranked by other scores: the fingerprints differ." in text


def test_a_selection_of_other_scores_needs_a_look(tmp_path):
    thresholds = [{"domain": "web", "threshold": 0.5, "chosen": 1, "tokens_chosen": 100}]
    selection = {"thresholds": thresholds, "fingerprint": {"window": 512}}
    text = " ".join(page_of(tmp_path, [scored(0, 0.5)], {"selection": selection}).text.split())
    assert "Look Was the selection made from these scores? The fingerprints differ in window." in text


@pytest.mark.parametrize("name", ["stability", "validity", "judge", "experiment"])
def test_a_file_of_another_command_is_refused(tmp_path, name):
    with pytest.raises(CorpusError, match=rf"{name}\.json is not what `attention-influence"):
        page_of(tmp_path, [scored(0, 0.5)], {name: {"tasks": []}})


def test_the_commands_shown_are_understood_and_give_the_same_configuration(tmp_path):
    config = ScoreConfig(
        corpus=("my corpus/*.jsonl", "b"),
        model="model",
        heads="h.json",
        domain_column="kind",
        unit_tokens=5,
        worker_cpus=2.0,
    )
    record = {name: getattr(config, name) for name in ScoreConfig.__dataclass_fields__}
    rows = [scored(row, row / 10) for row in range(9)]
    store = write_store(tmp_path / "store", rows, configuration=record)
    select(store, out=tmp_path / "out", tokens=300, rank_by="random", seed=4, manifest=True, weight=2)
    (tmp_path / "heads.json").write_text(json.dumps(HEADS | {"parameters": {"context": 512, "where": "anywhere"}}))
    inputs = Inputs(heads=tmp_path / "heads.json", selection=tmp_path / "out", text_of=lambda source, row: None)
    write_report(tmp_path / "r.html", store, inputs)
    page = Page(tmp_path / "r.html")
    commands = [shlex.split(line) for line in page.pre[-1].splitlines() if line]
    configs = {}
    for words in commands:
        parsed = vars(make_parser().parse_args(words[1:]))
        configs[words[1]] = from_arguments(COMMANDS[parsed["command"]].config, parsed)
    assert configs["score"] == config
    chosen = configs["select"]
    assert (chosen.tokens, chosen.rank_by, chosen.seed, chosen.weight, chosen.manifest) == (300, "random", 4, 2.0, True)
    assert (configs["detect"].context, configs["detect"].where, configs["detect"].seed) == (512, "anywhere", 7)


def test_documents_to_read_come_from_their_places_and_once(tmp_path):
    rng = np.random.default_rng(0)
    rows = [
        scored(row, float(rng.random()), copy_share=float(rng.random()), unigram_surprisal=7.0) for row in range(200)
    ]
    store = write_store(tmp_path / "store", rows)
    select(store, out=tmp_path / "out", top=0.2, manifest=True)
    opened, selected = open_store(str(store)), read_selection(tmp_path / "out")
    sample = draw_sample(opened, {"web": 200}, selected, 1000, 0)
    lists = choose_examples(read_store(opened, {}).domains, sample)["web"]
    by_influence = sorted(rows, key=lambda row: -row["influence"])
    expected = {
        "highest": by_influence[:5],
        "above": by_influence[39:34:-1],
        "below": by_influence[40:45],
        "lowest": by_influence[:-6:-1],
    }
    for name, documents in expected.items():
        assert [document.row for document in lists[name]] == [row["row"] for row in documents], name
    assert all(document.kept for name in ("highest", "above", "influence") for document in lists.get(name, ()))
    shown = [document.row for name, documents in lists.items() if name != "random" for document in documents]
    assert len(shown) == len(set(shown))


def test_costs_are_summed_over_units(tmp_path):
    store = write_store(tmp_path / "store", [scored(0, 0.1)], [scored(1, 0.2), scored(2, 0.3)])
    write_report(tmp_path / "r.html", store, Inputs(text_of=lambda source, row: None))
    page = Page(tmp_path / "r.html")
    assert ["cpu, 2 threads", "2", "3", "300", "0.00", "75"] in page.rows


def test_code_in_an_answer_is_marked_and_markup_in_it_is_not(tmp_path):
    thresholds = [{"domain": "web", "threshold": 0.5, "chosen": 1, "tokens_chosen": 100}]
    selection = {"thresholds": thresholds, "fingerprint": {"`<b>x</b>`": 1}}
    source = page_of(tmp_path, [scored(0, 0.5)], {"selection": selection}).source
    assert "<b>x</b>" not in source
    assert re.search("<code>&lt;b&gt;x&lt;/b&gt;</code>", source)


def test_a_store_in_which_nothing_could_be_scored_is_reported(tmp_path):
    page = page_of(tmp_path, [unscored(row, "empty") for row in range(3)])
    assert ["web", "empty", "3"] in page.rows
    assert "0 of 3 rows have a score" in page.text
