"""`detect`: the retrieval heads of a model, into heads.json and a picture."""

import posixpath

from attention_influence.commands.loading import load
from attention_influence.commands.result import Result, table
from attention_influence.config import DetectConfig
from attention_influence.corpus.texts import draw_texts
from attention_influence.heads.detect import detect_heads
from attention_influence.heads.head_set import HeadSet
from attention_influence.progress import progress
from attention_influence.report.figures.plots import save_heatmap
from attention_influence.storage.preflight import check_writable_file


def detect(config: DetectConfig) -> Result:
    picture = posixpath.splitext(config.out)[0] + ".png"
    for file in (config.out, picture):
        check_writable_file(file)
    texts = draw_texts(config.sentences, config.text_column, config.max_texts, config.seed)
    model = load(config.model, config)
    with progress("detecting", config.samples, "probes") as advance:
        found = detect_heads(
            model,
            texts,
            samples=config.samples,
            context=config.context,
            until_stable=config.until_stable,
            seed=config.seed,
            share=config.share,
            where=config.where,
            progress=lambda done, total: advance(1),
        )
    found.save(config.out)
    assert found.scores is not None
    save_heatmap(found.scores, found.heads, picture)
    return Result(
        f"{describe_heads(found)}\nwritten: {config.out}, {picture}",
        {"heads": [list(h) for h in found], "probe_texts": found.probe_texts},
    )


def describe_heads(found: HeadSet) -> str:
    """The chosen heads with scores and standard errors, and what to know about the probes."""
    rows = [
        (
            f"layer {layer} head {head}",
            *(m[layer][head] for m in (found.scores, found.standard_errors) if m is not None),
        )
        for layer, head in found
    ]
    lines = [table(("chosen head", "retrieval score", "standard error"), rows)]
    lines.append(f"{found.n_samples} probes, {found.probe_accuracy:.1%} of their answer tokens predicted right")
    lines += [
        f"{counts['sentences']:,} sentences from {counts['texts']:,} texts of {name}"
        for name, counts in found.probe_texts.items()
    ]
    lines += [f"warning: {warning}" for warning in found.warnings()]
    return "\n".join(lines)
