"""`demo`: the main job, from a model and four domains of text to a selection and a report."""

import shutil
import time
from collections import Counter
from dataclasses import dataclass
from pathlib import Path, PurePath

from attention_influence.commands.detect import describe_heads, detect
from attention_influence.commands.printing.result import Result, table
from attention_influence.commands.report import report
from attention_influence.commands.score import score
from attention_influence.commands.select import select_command
from attention_influence.config import DemoConfig, DetectConfig, ReportConfig, ScoreConfig, SelectConfig
from attention_influence.demo.assets import fetch
from attention_influence.demo.corpus import FULL, SMALL, Documents, build_corpus, build_sentences
from attention_influence.heads.head_set import load_heads
from attention_influence.progress import stage
from attention_influence.report.store_statistics import read_store
from attention_influence.selection.record import read_selection
from attention_influence.storage.preflight import check_writable_folder
from attention_influence.store.reader import open_store
from attention_influence.store.run import open_run


@dataclass(frozen=True)
class _Size:
    documents: Documents
    probes: int
    unit_tokens: int
    """Few enough that each domain has units of its own, whose time is known."""


# From ten probes on the heads change little.
_SIZES = {"small": _Size(SMALL, 12, 5_000), "full": _Size(FULL, 60, 20_000)}
_MADE = ("corpus", "heads.json", "heads.png", "scores", "selected", "report.html")


def demo(config: DemoConfig) -> Result:
    out = Path(config.out)
    check_writable_folder(config.out)
    for name in _MADE:  # only what an earlier demo made
        if (out / name).is_dir():
            shutil.rmtree(out / name)
        else:
            (out / name).unlink(missing_ok=True)
    assets = fetch()
    size = _SIZES[config.size]
    with stage("writing the corpus"):
        corpus = build_corpus(assets, out / "corpus", size.documents)
    sentences = build_sentences(assets, out)
    began = time.monotonic()
    heads, store, selected = out / "heads.json", out / "scores", out / "selected"
    model = str(assets.model)
    detect(
        DetectConfig(
            model=model,
            sentences=(str(sentences),),
            out=str(heads),
            samples=size.probes,
            context=1024,
            dtype=config.dtype,
            device=config.device,
        )
    )
    scored = score(
        ScoreConfig(
            corpus=tuple(map(str, corpus)),
            model=model,
            heads=str(heads),
            out=str(store),
            id_column="id",
            domain_column="domain",
            dtype=config.dtype,
            device=config.device,
            unit_tokens=size.unit_tokens,
        )
    )
    select_command(SelectConfig(str(store), out=str(selected), top=0.2))
    page = out / "report.html"
    report(ReportConfig(store=str(store), out=str(page), heads=str(heads), selection=str(selected)))
    lines = [
        describe_heads(load_heads(heads)),
        "",
        _domains(store, selected),
        "",
        f"scored {scored.data['tokens']:,} tokens in {scored.data['seconds']:,.0f} s; "
        f"everything after the downloads took {time.monotonic() - began:,.0f} s",
        f"heads     {heads} (picture: {heads.with_suffix('.png')})",
        f"scores    {store}",
        f"selected  {selected}",
        f"report    {page}",
    ]
    return Result("\n".join(lines), scored.data | {"report": str(page)})


def _domains(store: Path, selected: Path) -> str:
    record = read_selection(selected)
    parts = record.thresholds
    chosen = {name: (at.value, at.chosen) for name, at in parts.items() if at.value is not None}
    opened = open_store(str(store))
    speed = _tokens_a_second(opened.url)
    rows = []
    for domain in read_store(opened, chosen).domains:
        part = parts[domain.name]
        kept = (part.chosen, part.tokens_chosen, part.value, domain.mean_kept, domain.mean_dropped)
        rows.append((domain.name, domain.documents, domain.tokens, *kept, speed.get(domain.name)))
    headings = (
        *("domain", "documents", "tokens", "kept", "kept tokens", "threshold"),
        *("mean kept", "mean dropped", "tokens/s"),
    )
    return table(headings, rows)


def _tokens_a_second(store: str) -> dict[str, int]:
    """By domain, over the units that hold one domain only; a domain is a file of the demo's corpus."""
    run = open_run(store)
    assert run is not None
    tokens: Counter[str] = Counter()
    seconds: Counter[str] = Counter()
    records = run.records()
    for unit in run.units:
        domain, *others = {PurePath(part.source.name).stem for part in unit.slices}
        if not others:
            tokens[domain] += records[unit.name]["tokens"]
            seconds[domain] += records[unit.name]["seconds"]
    return {domain: round(count / seconds[domain]) for domain, count in tokens.items() if seconds[domain] > 0}
