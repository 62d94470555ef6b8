from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import torch
from transformers import AutoConfig

from attention_influence.errors import UsageError
from attention_influence.experiment.data.token_file import open_tokens, read_documents
from attention_influence.experiment.data.tokenizer import open_tokenizer
from attention_influence.experiment.plan import Plan, Run
from attention_influence.experiment.training.network import check_packing, new_network
from attention_influence.experiment.training.packing import IGNORED, Rows
from experiment.experiments import plan_of


def rows_of(plan: Plan, run: Run) -> Rows:
    documents = read_documents(plan.data_folder)
    pool = plan.pool(run, documents)
    recipe = plan.experiment.recipe
    return Rows(documents, open_tokens(plan.data_folder), pool, run.seed, recipe.context, plan.experiment.rows)


def network(kind: str = "llama"):  # type: ignore[no-untyped-def]
    sizes = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 48}
    sizes |= {"vocab_size": 310, "bos_token_id": 0, "eos_token_id": 0}
    return new_network(AutoConfig.for_model(kind, **sizes), 0)


@pytest.mark.parametrize("arm", ["selected", "only"])
def test_rows_are_the_documents_one_after_another_epoch_after_epoch(tmp_path: Path, arm: str) -> None:
    plan = plan_of(tmp_path)
    documents, tokens = read_documents(plan.data_folder), open_tokens(plan.data_folder)
    pool = plan.pool(Run(arm, 1), documents)
    stream: list[tuple[int, bool]] = []  # (token, whether a document begins)
    epoch = 0
    while len(stream) < 40 * 32:
        for copy in pool.order(documents, 1, epoch).tolist():
            offset = documents.offset[pool.document[copy]]
            ids = tokens[offset : offset + pool.tokens[copy]].tolist()
            stream += [(token, place == 0) for place, token in enumerate(ids)]
        epoch += 1
    assert epoch == (1 if arm == "selected" else 3)
    rows = rows_of(plan, Run(arm, 1))
    assert len(rows) == 40
    for number in (39, *range(40)):  # whatever was asked for before
        row, part = rows[number], stream[number * 32 : (number + 1) * 32]
        begins = [begins or place == 0 for place, (_, begins) in enumerate(part)]
        assert row["input_ids"].tolist() == [token for token, _ in part]
        assert (row["position_ids"] == 0).tolist() == begins
        assert row["labels"].tolist() == [IGNORED if begins[i] else token for i, (token, _) in enumerate(part)]
        steps = np.diff(row["position_ids"])
        assert ((steps == 1) | (row["position_ids"][1:] == 0)).all()


def test_the_first_token_of_a_document_is_its_beginning_and_the_last_its_end(tmp_path: Path) -> None:
    plan = plan_of(tmp_path)
    documents, tokens = read_documents(plan.data_folder), open_tokens(plan.data_folder)
    tokenizer = open_tokenizer(plan.tokenizer)
    first = tokens[: documents.tokens[0]].tolist()
    assert first[0] == tokenizer.bos_token_id
    assert first[-1] == tokenizer.eos_token_id
    text = tokenizer.decode(first[1:-1])
    assert text in {line.split('"')[3] for line in (tmp_path / "corpus" / "land.jsonl").read_text().splitlines()}


def test_the_loss_of_a_packed_row_is_that_of_its_documents_alone(tmp_path: Path) -> None:
    rows = rows_of(plan_of(tmp_path), Run("selected", 0))
    model = network()
    several = 0
    for number in range(12):
        row = {name: torch.from_numpy(values)[None] for name, values in rows[number].items()}
        packed = model(**row).loss
        starts = [*torch.nonzero(row["position_ids"][0] == 0)[:, 0].tolist(), 32]
        nats, count = 0.0, 0
        for start, end in pairwise(starts):
            ids = row["input_ids"][:, start:end]
            if end - start > 1:
                nats += float(model(input_ids=ids, labels=ids).loss.detach()) * (end - start - 1)
                count += end - start - 1
        several += len(starts) > 2
        assert count == int((row["labels"] != IGNORED).sum())
        assert abs(float(packed.detach()) - nats / count) < 1e-5
    assert several > 5


def test_a_network_that_does_not_heed_positions_is_refused() -> None:
    check_packing(network())
    model = network()
    model.config.use_cache = True  # with a cache, transformers does not look at positions
    with pytest.raises(UsageError, match="documents of llama that share a row see each other"):
        check_packing(model)
    with pytest.raises(UsageError, match="transformers makes no network of it"):
        check_packing(network("bloom"))
