"""Single kernels: what the device can do, and what the parts of a pass make of it.

    python benchmarks/gpu/single_kernels.py [--device cpu --tiny]

One line of JSON for each figure; a part that fails says so, and the others go on.
"""

import torch
from common import finish, options, peak_gib, say, seconds
from torch.nn.functional import linear

from attention_influence.model.attention.varlen import why_not
from attention_influence.model.attention.windowed import windowed_attention
from attention_influence.model.token_losses import plain_token_losses, token_losses

given = options(__doc__)
DEVICE, TINY = given.device, given.tiny
ROUNDS = 2 if TINY else 10


def randn(*shape: int, dtype: torch.dtype = torch.bfloat16) -> torch.Tensor:
    return torch.randn(shape, device=DEVICE, dtype=dtype)


def limits() -> None:
    n = 64 if TINY else 8192
    copied = torch.empty(2**20 if TINY else 2**31, dtype=torch.uint8, device=DEVICE)
    into = torch.empty_like(copied)
    say("copy", TB_per_s=2 * copied.numel() / seconds(lambda: into.copy_(copied), DEVICE, ROUNDS) / 1e12)
    for dtype in (torch.bfloat16, torch.float32):
        a, b = randn(n, n, dtype=dtype), randn(n, n, dtype=dtype)
        say(f"matmul {dtype}", TFLOP_per_s=2 * n**3 / seconds(lambda a=a, b=b: a @ b, DEVICE, ROUNDS) / 1e12)


def lm_head(hidden: int, vocabulary: int, rows: int) -> None:
    x, weight = randn(rows, hidden), randn(vocabulary, hidden) * hidden**-0.5
    target = torch.randint(vocabulary, (rows,), device=DEVICE)
    logits = linear(x, weight).float()

    def losses() -> torch.Tensor:
        return token_losses(logits, target)[0]

    product = seconds(lambda: linear(x, weight), DEVICE, ROUNDS)
    exact = torch.nn.functional.cross_entropy(logits.double(), target, reduction="none")
    say(
        "LM head",
        hidden=hidden,
        vocabulary=vocabulary,
        rows=rows,
        matmul_ms=1e3 * product,
        TFLOP_per_s=2 * rows * vocabulary * hidden / product / 1e12,
        losses_ms=1e3 * seconds(losses, DEVICE, ROUNDS),
        losses_in_plain_torch_ms=1e3 * seconds(lambda: plain_token_losses(logits, target), DEVICE, ROUNDS),
        error=float((losses() - exact).abs().max()),
    )


def attention(heads: int, kv_heads: int, size: int, length: int, tokens: int, dtype: torch.dtype) -> None:
    query, key, value = (randn(1, n, tokens, size, dtype=dtype) for n in (heads, kv_heads, kv_heads))
    lengths = [length] * (tokens // length)
    peak_gib(DEVICE)
    time = seconds(lambda: windowed_attention(query, key, value, lengths, None, None), DEVICE, ROUNDS)
    say(
        "attention",
        way=why_not(query.device, dtype, size) or "variable-length kernel",
        heads=heads,
        kv_heads=kv_heads,
        size=size,
        length=length,
        tokens=tokens,
        ms=1e3 * time,
        useful_TFLOP_per_s=2 * length * tokens * heads * size / time / 1e12,
        peak_GiB=peak_gib(DEVICE),
    )


def uniform(heads: int, kv_heads: int, size: int, lengths: list[int], sliding_window: int | None) -> None:
    """A head without a query, beside others: its error against the plain mean, and whether bits depend on the pack."""
    query, key, value = (randn(1, n, sum(lengths), size) for n in (heads, kv_heads, kv_heads))
    query[0, -1] = 0
    out = windowed_attention(query, key, value, lengths, None, sliding_window)[0]
    start, error, alone_is_equal = 0, 0.0, True
    for length in lengths:
        part = slice(start, start + length)
        age = torch.arange(length, device=DEVICE)[:, None] - torch.arange(length, device=DEVICE)
        seen = ((age >= 0) & (age < (sliding_window or length))).double()
        mean = (seen / seen.sum(1, keepdim=True)) @ value[0, -1, part].double()
        error = max(error, float((out[part, -1].double() - mean).abs().max()))
        of_part = (x[:, :, part] for x in (query, key, value))
        alone = windowed_attention(*of_part, [length], None, sliding_window)[0]
        alone_is_equal &= torch.equal(alone, out[part])
        start += length
    say(
        "zero query",
        heads=heads,
        size=size,
        sliding_window=sliding_window,
        error=error,
        equal_bits_alone=alone_is_equal,
    )


def main() -> None:
    on = torch.cuda.get_device_name() if DEVICE.startswith("cuda") else DEVICE
    say("device", name=on, torch=torch.__version__)
    half, whole = torch.bfloat16, torch.float32
    tokens = 256 if TINY else 65536
    tried: list[tuple[object, ...]] = [(limits,)]
    for shape in ((4, 2, 8),) if TINY else ((6, 2, 64), (8, 8, 80), (8, 2, 128), (4, 1, 256)):
        tried += [(uniform, *shape, [1, 7, 300, 64, 129], window) for window in (None, 1, 16, 129)]
    tried += [(lm_head, *shape) for shape in ([(64, 500, 32)] if TINY else [(576, 49152, 10922), (2048, 128256, 4096)])]
    shapes = [(4, 2, 8)] if TINY else [(9, 3, 64), (32, 32, 64), (32, 8, 128), (8, 4, 256), (8, 8, 36)]
    for shape in shapes:
        for length in (64,) if TINY else (128, 1024, 8192):
            tried.append((attention, *shape, length, tokens, half))
    tried.append((attention, *shapes[0], 64 if TINY else 4096, tokens // 4, whole))
    for part, *arguments in tried:
        try:
            part(*arguments)  # type: ignore[operator]
            finish(DEVICE)
        except (RuntimeError, TypeError, ValueError) as error:
            say(f"{part.__name__} failed", arguments=str(arguments), error=f"{type(error).__name__}: {error}"[:400])  # type: ignore[attr-defined]


if __name__ == "__main__":
    main()
