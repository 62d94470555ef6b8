"""The steps in a real pipeline of datatrove."""

import json
import pickle
import subprocess
import sys
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from datatrove.data import Document
from datatrove.executor import LocalPipelineExecutor
from datatrove.pipeline.readers import ParquetReader
from datatrove.pipeline.writers import ParquetWriter

from attention_influence import Scorer, load_heads, load_model, select
from attention_influence.errors import UsageError
from attention_influence.integrations.datatrove import InfluenceFilter, InfluenceScorer
from attention_influence.integrations.score_fields import FIELDS, score_fields
from runs.runs import HEADS, texts
from selection.store_files import score_row, write_store
from tiny_models import save_tiny


@pytest.fixture
def model(tmp_path: Path) -> Path:
    folder = save_tiny(tmp_path / "model", "llama")
    (folder / "heads.json").write_text(json.dumps(HEADS))
    return folder


def test_a_pipeline_keeps_what_the_scorer_scores_at_or_above_the_threshold(tmp_path: Path, model: Path) -> None:
    given = [*texts(30), "   "]
    (tmp_path / "in").mkdir()
    for part in range(2):
        rows = [{"text": text, "id": f"{part}-{n}"} for n, text in enumerate(given[part::2])]
        pq.write_table(pa.Table.from_pylist(rows), tmp_path / "in" / f"{part}.parquet")
    scores = Scorer(load_model(str(model), "fp32"), load_heads(model / "heads.json"), pack_tokens=256).score(given)
    known = sorted(score.influence for score in scores if score.influence is not None)
    threshold = known[len(known) // 2]
    step = InfluenceScorer(str(model), str(model / "heads.json"), dtype="fp32", device="cpu", pack_tokens=256)
    executor = LocalPipelineExecutor(
        pipeline=[
            ParquetReader(str(tmp_path / "in")),
            pickle.loads(pickle.dumps(step)),
            InfluenceFilter(threshold, ParquetWriter(str(tmp_path / "dropped"))),
            ParquetWriter(str(tmp_path / "kept")),
        ],
        tasks=2,
        workers=1,
        logging_dir=str(tmp_path / "logs"),
        skip_completed=False,
    )
    executor.run()
    expected = dict(zip(given, scores, strict=True))
    kept, dropped = (
        [row for file in (tmp_path / name).glob("*.parquet") for row in pq.read_table(file).to_pylist()]
        for name in ("kept", "dropped")
    )
    assert len(kept) == len(known) - len(known) // 2
    assert len(kept) + len(dropped) == len(given)
    for document in (*kept, *dropped):
        wanted = score_fields(expected[document["text"]])
        said = {name: document["metadata"][name] for name in FIELDS}
        assert said.pop("flag") == wanted.pop("flag")
        assert said.pop("reason") == wanted.pop("reason")
        assert said == pytest.approx(wanted, rel=1e-5, nan_ok=True)
    assert all(document["metadata"]["influence"] >= threshold for document in kept)
    reasons = {document["text"]: document["metadata"]["filter_reason"] for document in dropped}
    assert reasons.pop("   ") == "whitespace"
    assert set(reasons.values()) == {"below_threshold"}


def test_documents_that_nobody_scored_are_dropped_as_such() -> None:
    assert InfluenceFilter(0.1).filter(Document(text="a", id="0")) == (False, "not_scored")


def test_a_selections_thresholds_decide_by_domain(tmp_path: Path) -> None:
    rows = [score_row("x/a", n, n / 10, domain="ab"[n % 2]) for n in range(10)]
    select(write_store(tmp_path / "s", [rows]), out=tmp_path / "selected", top=0.4, manifest=True)
    step = InfluenceFilter(str(tmp_path / "selected"), domain_key="kind")
    kept = [row["row"] for row in rows if step.filter(_document(row["influence"], kind=row["domain"])) is True]
    assert kept == [6, 7, 8, 9]
    assert step.filter(_document(9.0, kind="c")) == (False, "domain_without_threshold")
    assert step.filter(_document(9.0)) == (False, "domain_without_threshold")


def test_a_selection_of_one_domain_needs_no_domain_and_others_are_refused(tmp_path: Path) -> None:
    store = write_store(tmp_path / "s", [[score_row("x/a", n, n / 10) for n in range(10)]])
    select(store, out=tmp_path / "one", top=0.2, manifest=True)
    assert InfluenceFilter(tmp_path / "one").filter(_document(0.8)) is True
    assert InfluenceFilter(tmp_path / "one").filter(_document(0.79)) == (False, "below_threshold")
    select(store, out=tmp_path / "long", top=0.2, rank_by="length", manifest=True)
    select(store, out=tmp_path / "drawn", top=0.2, temperature=1.0, manifest=True)
    for name in ("long", "drawn", "nowhere"):
        with pytest.raises(UsageError, match=name):
            InfluenceFilter(str(tmp_path / name))


def _document(influence: float, **metadata: object) -> Document:
    return Document(text="a", id="0", metadata={"influence": influence, **metadata})


def test_without_datatrove_the_module_says_what_to_install() -> None:
    script = (
        "import sys; sys.modules['datatrove'] = None\n"
        "try:\n    import attention_influence.integrations.datatrove\n"
        "except ImportError as error:\n    print(error)"
    )
    said = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True).stdout
    assert "pip install 'attention-influence[datatrove]'" in said
