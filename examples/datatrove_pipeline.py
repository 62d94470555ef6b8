"""A datatrove pipeline that scores documents and keeps those above the thresholds of an earlier selection.

    python examples/datatrove_pipeline.py corpus/ HuggingFaceTB/SmolLM2-135M heads.json selected/ kept/

The selection may come from a sample: score and select that first, then let its thresholds decide about everything else.
"""

import argparse

from datatrove.executor import LocalPipelineExecutor
from datatrove.pipeline.readers import ParquetReader
from datatrove.pipeline.writers import ParquetWriter

from attention_influence.integrations.datatrove import InfluenceFilter, InfluenceScorer

if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("corpus")
    parser.add_argument("model")
    parser.add_argument("heads")
    parser.add_argument("selection")
    parser.add_argument("out")
    parser.add_argument("--dtype", default="bf16")
    parser.add_argument("--tasks", type=int, default=1)
    options = parser.parse_args()

    LocalPipelineExecutor(
        pipeline=[
            ParquetReader(options.corpus),
            InfluenceScorer(options.model, options.heads, dtype=options.dtype),
            InfluenceFilter(options.selection, exclusion_writer=ParquetWriter(f"{options.out}/dropped")),
            ParquetWriter(f"{options.out}/kept"),
        ],
        tasks=options.tasks,
        workers=1,
        logging_dir=f"{options.out}/logs",
    ).run()
