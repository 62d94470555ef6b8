"""Options of the subcommand that trains networks to compare selections."""

from dataclasses import dataclass, field
from typing import Literal

from attention_influence.config.options import POSITIONAL


@dataclass(frozen=True)
class ExperimentConfig:
    """Train small language models on the corpus, with and without what rankings select, and compare them."""

    file: str = field(metadata=POSITIONAL)
    """YAML file that describes the experiment: corpus, scores, arms, seeds, model, tokens, evaluation"""
    out: str = "experiment"
    """folder of all runs; what is finished there is kept, and what was stopped is resumed"""
    workers: int | None = None
    """runs at the same time (default: one for each GPU, one on a CPU; with Ray, as many as the cluster has room for)"""
    engine: Literal["local", "ray"] = "local"
    """who starts them: this command, or Ray on one machine or a cluster"""
    address: str | None = None
    """address of the Ray cluster (default: RAY_ADDRESS, or a cluster on this machine, or a new one)"""
    shard: str | None = None
    """i/n: only every n-th run from the i-th on (default: from Slurm's array variables)"""
    dry_run: bool = False
    """print parameters, tokens and epochs of every arm, steps and an estimate of the time, and train nothing"""
