"""Options of the subcommand that runs EleutherAI's lm-evaluation-harness."""

from dataclasses import dataclass

from attention_influence.config.model import ModelOptions


@dataclass(frozen=True, kw_only=True)
class LmEvalConfig(ModelOptions):
    """Run EleutherAI's lm-evaluation-harness with the chosen heads masked, random ones, and none."""

    tasks: tuple[str, ...]
    """tasks, groups or tags of the harness, or a task's YAML file; several by commas or again"""
    mask: tuple[str, ...] = ()
    """heads to mask, each in a run of its own: none, chosen (those of --heads), random (as many of any layer), matched
    (as many of the same layers); several by commas or again (default: none,chosen,matched)"""
    heads: str = "heads.json"
    """the chosen heads, as `detect` wrote them"""
    out: str = "lm-eval.json"
    """where to write all figures"""
    draws: int = 3
    """sets of random heads of each kind; each is a run"""
    include_path: tuple[str, ...] = ()
    """folder with YAML files of your own tasks; may be given several times"""
    limit: int | None = None
    """items of each task (default: all)"""
    num_fewshot: int | None = None
    """examples before each item (default: the task's)"""
    batch_size: int = 8
    """items computed together"""
    apply_chat_template: bool = False
    """put items into the tokenizer's chat template"""
    confirm_run_unsafe_code: bool = False
    """allow tasks that run what the model writes, such as humaneval"""
    seed: int = 0
    """random seed of random heads and of intervals; the harness keeps its own"""
