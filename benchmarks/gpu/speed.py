"""Whole passes of models with random weights: tokens/s beside plain transformers, memory, a profile.

    python benchmarks/gpu/speed.py 135M|1.7B [--device cpu --tiny]

Nothing is downloaded. The self-test runs first, on the device. A profile is written to $OUT.
"""

import os
import time
from pathlib import Path

import numpy as np
import torch
from common import finish, options, peak_gib, say, seconds
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import AutoModelForCausalLM, LlamaConfig, PreTrainedTokenizerFast

from attention_influence import Scorer
from attention_influence.model.language_model import LanguageModel
from limit import useful_operations

# Hidden size, inner size, layers, heads, key/value heads, vocabulary, and the heads that are masked: layer → how many.
SIZES = {
    "135M": (576, 1536, 30, 9, 3, 49152, {17: 1, 18: 2, 19: 2, 20: 2, 21: 2, 22: 2, 23: 1, 24: 2}),
    "1.7B": (2048, 8192, 24, 32, 32, 49152, dict.fromkeys(range(14, 24), 4)),
}
TINY = (64, 96, 4, 4, 2, 512, {1: 1, 2: 2})

given = options(__doc__, "size")
hidden, inner, layers, heads, kv_heads, vocabulary, masked = TINY if given.tiny else SIZES[given.size]
rounds = 2 if given.tiny else 5


def random_model() -> LanguageModel:
    config = LlamaConfig(
        hidden_size=hidden,
        intermediate_size=inner,
        num_hidden_layers=layers,
        num_attention_heads=heads,
        num_key_value_heads=kv_heads,
        head_dim=16 if given.tiny else 64,
        vocab_size=vocabulary,
        max_position_embeddings=8192,
        tie_word_embeddings=True,
        bos_token_id=0,
    )
    torch.manual_seed(0)
    with torch.device(given.device):
        network = AutoModelForCausalLM.from_config(config, dtype=torch.bfloat16)
    with torch.no_grad():
        for weights in network.parameters():  # wider than a model begins with, so that heads matter
            if weights.dim() > 1:
                weights.normal_(0, 1.5 * weights.shape[1] ** -0.5)
        network.get_input_embeddings().weight.normal_()
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    backend = Tokenizer(models.BPE(vocab={c: i for i, c in enumerate(["<s>", *alphabet])}, merges=[]))
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    return LanguageModel(
        network, PreTrainedTokenizerFast(tokenizer_object=backend, bos_token="<s>"), given.size, "random"
    )


def main() -> None:
    began = time.perf_counter()
    model = random_model()
    say("model", size=given.size, seconds=time.perf_counter() - began, **model.arithmetic())
    began = time.perf_counter()
    scorer = Scorer(model, [(layer, head) for layer, count in masked.items() for head in range(count)])
    tested = scorer.tested
    say(
        "self-test", seconds=time.perf_counter() - began, packing=tested.packing, error=tested.error, noise=tested.noise
    )
    rng = np.random.default_rng(0)
    shapes = [(64, 16)] if given.tiny else [(32768, 1000), (8192, 1000), (131072, 1000), (32768, 128), (32768, 4096)]
    for pack, length in shapes:
        windows = [rng.integers(3, vocabulary, length).tolist() for _ in range(max(1, pack // length))]
        try:
            peak_gib(given.device)
            forked = seconds(lambda windows=windows: scorer.window_losses(windows), given.device, rounds)
            peak = peak_gib(given.device)
            plain = seconds(lambda windows=windows: two_plain_passes(model, windows), given.device, rounds)
        except torch.OutOfMemoryError as error:
            say("pack failed", pack=pack, length=length, error=str(error)[:200])
            continue
        tokens = sum(map(len, windows))
        flop = useful_operations(model, scorer.fork_layer, [length] * len(windows))
        say(
            "pack",
            tokens=tokens,
            length=length,
            ms=1e3 * forked,
            tokens_per_s=tokens / forked,
            TFLOP_per_s=flop / forked / 1e12,
            peak_GiB=peak,
            times_two_plain_passes=plain / forked,
        )
    profile(scorer, windows)


@torch.inference_mode()
def two_plain_passes(model: LanguageModel, windows: list[list[int]]) -> None:
    """What transformers takes for both losses of windows of one length, some at a time: attention is torch's own."""
    some = max(1, 8192 // len(windows[0]))
    with model.unmodified("sdpa") as network:
        for _ in range(2):
            for low in range(0, len(windows), some):
                ids = torch.tensor(windows[low : low + some], device=model.device)
                logits = network(input_ids=ids, use_cache=False).logits[:, :-1]
                torch.nn.functional.cross_entropy(logits.flatten(0, 1).float(), ids[:, 1:].flatten(), reduction="none")


def profile(scorer: Scorer, windows: list[list[int]]) -> None:
    on_cuda = given.device.startswith("cuda")
    kinds = [torch.profiler.ProfilerActivity.CPU]
    kinds += [torch.profiler.ProfilerActivity.CUDA] if on_cuda else []
    with torch.profiler.profile(activities=kinds) as seen:
        scorer.window_losses(windows)
        finish(given.device)
    table = seen.key_averages().table(sort_by=f"self_{'cuda' if on_cuda else 'cpu'}_time_total", row_limit=40)
    written = Path(os.environ.get("OUT", ".")) / f"profile-{given.size}.txt"
    written.write_text(table)
    say("profile", written=str(written))


if __name__ == "__main__":
    main()
