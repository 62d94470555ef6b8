"""Stores in which influence is driven by repetition and by a signal that no column shows."""

import numpy as np
from store_files import score_row


def driven_rows(documents, domain="web", seed=0, curved=False, repetition=0.4):
    """(rows, hidden signal by row): log(loss_ref / loss_base) = repetition · f(copy_share) + 0.1 · signal."""
    rng = np.random.default_rng(seed)
    hidden = rng.normal(size=documents)
    copied, length = rng.beta(2, 4, size=documents), rng.integers(20, 2000, size=documents)
    base, rest = rng.uniform(1, 4, size=documents), rng.uniform(0.2, 1, size=(3, documents))
    driver = np.sin(8 * copied) if curved else copied
    ratio = repetition * driver + 0.05 * np.log(length) - 0.05 * base + 0.1 * hidden
    rows = [
        score_row(
            f"{domain}/a",
            n,
            float(np.expm1(ratio[n])),
            domain=domain,
            loss_base=float(base[n]),
            loss_ref=float(base[n] * np.exp(ratio[n])),
            n_tokens=int(length[n]),
            copy_share=float(copied[n]),
            repeat_share=float(copied[n] * rest[0, n] / 2),
            compression=float(rest[1, n]),
            unigram_surprisal=float(rest[2, n] * 8),
        )
        for n in range(documents)
    ]
    return rows, hidden
