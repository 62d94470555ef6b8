"""Scores a dataset of the Hugging Face hub (or a local folder) and saves its most influential tenth as Parquet.

    python examples/hub_dataset.py HuggingFaceFW/fineweb-edu HuggingFaceTB/SmolLM2-135M heads.json selected.parquet

For more than fits one machine, score the files themselves: `attention-influence score hf://datasets/…`.
"""

import argparse

from datasets import load_dataset

from attention_influence import Scorer, load_heads, load_model
from attention_influence.integrations.datasets import InfluenceColumns

parser = argparse.ArgumentParser()
parser.add_argument("dataset")
parser.add_argument("model")
parser.add_argument("heads")
parser.add_argument("out")
parser.add_argument("--rows", type=int, default=2000)
parser.add_argument("--dtype", default="bf16")
options = parser.parse_args()

scorer = Scorer(load_model(options.model, options.dtype), load_heads(options.heads))
dataset = load_dataset(options.dataset, split="train")
dataset = dataset.select(range(min(options.rows, len(dataset))))
scored = dataset.map(InfluenceColumns(scorer), batched=True, batch_size=256)
ranked = scored.filter(lambda row: row["influence"] == row["influence"]).sort("influence", reverse=True)
ranked.select(range(-(-len(ranked) // 10))).to_parquet(options.out)
