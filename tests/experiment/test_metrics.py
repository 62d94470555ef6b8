"""Metrics of a network against plain loops over transformers' own code, and of a network that is known to retrieve."""

import copy
import logging
import math

import pytest
import torch

from attention_influence.experiment.measuring.metrics import PAPER_TASKS, EvaluationData, evaluate
from attention_influence.tasks.items import Choices, Item
from evidence.task_files import write_task
from heads.copying_model import TEXT, copying_model
from tiny_models import tokenizer, untouched

WEB = ["The keeper wrote the height of the tide into the notebook. " * 3, "Grüße, naïve façade!", "a"]
CODE = ["def tide(height):\n    return height + 9\n"]


def measured(network, tokens, **evaluation) -> dict[str, float]:
    given = {"held_out": {}, "probes": 0} | evaluation
    return {m.name: m.value for m in evaluate(copy.deepcopy(network), tokens, EvaluationData(**given))}


def eager_nats(network, tokens, text: str, context: int) -> float:
    """Document by document, window by window, in batches of one."""
    ids = tokens(text, add_special_tokens=False).input_ids
    room = context - 1
    count = -(-len(ids) // room)
    nats = 0.0
    for i in range(count):
        window = ids[i * len(ids) // count : (i + 1) * len(ids) // count]
        row = torch.tensor([[tokens.bos_token_id, *window]])
        with torch.no_grad():
            logits = network(row).logits[0, :-1].double()
        nats += torch.nn.functional.cross_entropy(logits, row[0, 1:], reduction="sum").item()
    return nats


@pytest.mark.parametrize("family", ["llama", "gpt2"])
def test_bits_per_byte_are_those_of_an_eager_loop_over_documents_alone(family: str) -> None:
    network, tokens = untouched(family).eval(), tokenizer(bos=False)
    found = measured(network, tokens, held_out={"web": WEB, "code": CODE}, context=24)
    nats = {name: sum(eager_nats(network, tokens, t, 24) for t in texts) for name, texts in (("w", WEB), ("c", CODE))}
    sizes = {"w": sum(len(t.encode()) for t in WEB), "c": len(CODE[0])}
    assert found == {
        "bits per byte: web": pytest.approx(nats["w"] / math.log(2) / sizes["w"], abs=1e-5),
        "bits per byte: code": pytest.approx(nats["c"] / math.log(2) / sizes["c"], abs=1e-5),
        "bits per byte": pytest.approx((nats["w"] + nats["c"]) / math.log(2) / (sizes["w"] + sizes["c"]), abs=1e-5),
    }
    of_one = measured(network, tokens, held_out={"web": WEB}, context=24)
    assert of_one == {"bits per byte": pytest.approx(found["bits per byte: web"], abs=1e-9)}


def test_answers_are_measured_by_task_and_what_does_not_fit_is_named(caplog) -> None:
    network, tokens = untouched("llama").eval(), tokenizer(bos=False)
    items = [
        Item("tides", "The keeper wrote", " the height"),
        Item("tides", "The keeper wrote " * 20, " the height"),
        Choices("doors", "The water reached", (" the door", " the tower where", " the tide"), 1),
    ]
    with caplog.at_level(logging.WARNING):
        found = measured(network, tokens, items=items, context=24)
    assert "1 items of tides do not fit into 24 tokens" in caplog.text
    prompt, whole = (
        [tokens.bos_token_id, *tokens(text).input_ids] for text in ("The keeper wrote", "The keeper wrote the height")
    )
    with torch.no_grad():
        logits = network(torch.tensor([whole])).logits[0, :-1].double()
    losses = torch.nn.functional.cross_entropy(logits, torch.tensor(whole[1:]), reduction="none")[len(prompt) - 1 :]
    assert found["answer loss: tides"] == pytest.approx(losses.mean().item(), abs=1e-5)
    assert set(found) == {f"answer {what}: {task}" for what in ("loss", "accuracy") for task in ("tides", "doors")}
    assert found["answer accuracy: doors"] in (0.0, 1.0)


def test_a_network_that_copies_does_both_kinds_of_probes_with_the_one_head_that_does() -> None:
    model = copying_model()
    found = measured(model.network, model.tokenizer, sentences=[TEXT], probes=3, context=512)
    assert found["pair probe accuracy"] == found["pair probe: highest retrieval score"] == 1.0
    assert found["pair probe loss"] < 0.01
    # A sentence's first word of nine follows a key, whose characters are no words of this network.
    assert found["probe accuracy"] == found["probe: highest retrieval score"] == pytest.approx(8 / 9)
    for kind in ("probe", "pair probe"):
        # Beside the one that copies, heads that look at the same word are no retrieval.
        assert found[f"{kind}: retrieval heads above 0.1"] == 1.0


def test_an_untrained_network_does_not_retrieve() -> None:
    network, tokens = untouched("llama").eval(), tokenizer()
    found = measured(network, tokens, held_out={"web": WEB}, probes=5)
    assert found["pair probe accuracy"] < 0.5
    assert found["pair probe loss"] > 1.0


def test_probes_that_do_not_fit_are_named_and_the_others_are_measured(caplog) -> None:
    network, tokens = untouched("llama").eval(), tokenizer()
    with caplog.at_level(logging.WARNING):
        found = measured(network, tokens, sentences=WEB, probes=2, context=13)
    assert "probe loss is not measured: " in caplog.text
    assert "--" not in caplog.text  # options of another command
    assert "pair probe loss is not" not in caplog.text
    assert {name for name in found if "probe" in name} == {name for name in found if name.startswith("pair probe")}
    with caplog.at_level(logging.WARNING):
        assert measured(network, tokens, sentences=WEB, probes=2, context=12) == {}
    assert "pair probe loss is not measured: a context of 12 tokens is too short" in caplog.text


def test_every_network_is_asked_the_same_probes() -> None:
    network, tokens = untouched("llama").eval(), tokenizer()
    once, again = (measured(network, tokens, sentences=WEB, probes=4) for _ in range(2))
    assert once == again


def test_tasks_of_the_harness_are_measured_on_the_network(tmp_path) -> None:
    write_task(
        tmp_path,
        "tides",
        [{"prompt": "The keeper wrote", "right": " the tide"}, {"prompt": "The water reached", "right": " the door"}],
        output_type="loglikelihood",
        doc_to_target="right",
        metric_list=[{"metric": "perplexity", "higher_is_better": False}, {"metric": "acc", "higher_is_better": True}],
    )
    network, tokens = untouched("llama").eval(), tokenizer()
    found = evaluate(network, tokens, EvaluationData({}, probes=0, tasks=[str(tmp_path / "tides.yaml")]))
    assert {(m.name, m.lower_is_better) for m in found} == {("tides: perplexity", True), ("tides: acc", False)}


@pytest.mark.slow
def test_the_harness_has_the_tasks_of_the_paper() -> None:
    from lm_eval.tasks import TaskManager

    assert set(PAPER_TASKS) <= set(TaskManager().all_tasks)
