"""A .gguf file as a directory with dense weights, converted once and kept in the user's cache folder."""

import hashlib
import json
import logging
import shutil
import tempfile
from pathlib import Path
from typing import Any

from attention_influence.cache import cache_folder
from attention_influence.errors import ModelError

_log = logging.getLogger(__name__)

_FORMAT = 1  # part of the folder's name: raise it when the conversion changes

# Pre-tokenizers that transformers' conversion knows by their default alone: byte-level with GPT-2's split.
_BYTE_LEVEL = {"gpt-2", "default", "smollm"}


def dense_copy(file: Path) -> tuple[Path, str]:
    """The directory that holds `file`'s weights in float32 with its tokenizer, and the file's sha256.

    Converts on first use; later the copy's own checksum is verified. Raises ModelError.
    """
    if not file.is_file():
        raise ModelError(f"{file}: no such file")
    source_hash = _sha256(file)
    folder = cache_folder() / "models" / f"{source_hash[:32]}-{_FORMAT}"
    record = folder / "conversion.json"
    if record.is_file():
        if json.loads(record.read_text())["weights"] == _sha256(folder / "model.safetensors"):
            return folder, source_hash
        raise ModelError(f"{folder} is damaged (its weights' checksum differs); remove it and start again")
    folder.parent.mkdir(parents=True, exist_ok=True)
    building = Path(tempfile.mkdtemp(prefix=".building-", dir=folder.parent))
    try:
        _convert(file, building)
        record_text = json.dumps({"source": source_hash, "weights": _sha256(building / "model.safetensors")})
        (building / "conversion.json").write_text(record_text)
        try:
            building.rename(folder)
        except OSError:  # another process was first
            if not record.is_file():
                raise
    finally:
        shutil.rmtree(building, ignore_errors=True)
    return folder, source_hash


def _convert(file: Path, out: Path) -> None:
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    place: dict[str, Any] = {"pretrained_model_name_or_path": str(file.parent), "gguf_file": file.name}
    try:
        packed = AutoModelForCausalLM.from_pretrained(**place, dtype=torch.float32)
        tokenizer = AutoTokenizer.from_pretrained(**place)
    except Exception as error:  # the reader raises many kinds; all mean that the file cannot be used
        raise ModelError(f"{file} cannot be read as a GGUF language model: {error}") from error
    # A model loaded from GGUF refuses to be saved, so its weights move into one made from the same configuration.
    config = packed.config
    if hasattr(config, "quantization_config"):
        del config.quantization_config
    weights = packed.state_dict()
    not_dense = [name for name, tensor in weights.items() if not tensor.is_floating_point()]
    if not_dense:
        raise ModelError(f"{file}: transformers leaves {not_dense[0]} and others packed; use an unquantised copy")
    network: Any = AutoModelForCausalLM.from_config(config, dtype=torch.float32)  # type: ignore[no-untyped-call]
    missing, unexpected = network.load_state_dict(weights, strict=False)
    network.tie_weights()
    tied = set(getattr(network, "all_tied_weights_keys", None) or ())
    if unexpected or set(missing) - tied:
        raise ModelError(f"{file}: weights do not fit the model ({[*unexpected, *missing][:5]})")
    network.save_pretrained(out, max_shard_size="1000GB")
    _mend_split(file, tokenizer)
    tokenizer.save_pretrained(out)


def _mend_split(file: Path, tokenizer: Any) -> None:
    """Gives the tokenizer the split that the file names, where transformers does not know the name."""
    from gguf import GGUFReader
    from tokenizers import pre_tokenizers
    from transformers.integrations.gguf.gguf_tokenizer_mapping import GGUF_PRE_TOKENIZER_SPLITS

    fields = GGUFReader(file).fields
    kind = fields["tokenizer.ggml.model"].contents() if "tokenizer.ggml.model" in fields else None
    split = fields["tokenizer.ggml.pre"].contents() if "tokenizer.ggml.pre" in fields else "default"
    if split == "smollm":
        tokenizer.backend_tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
            [pre_tokenizers.Digits(individual_digits=True), pre_tokenizers.ByteLevel(add_prefix_space=False)]
        )
    elif kind == "gpt2" and split not in _BYTE_LEVEL and split not in GGUF_PRE_TOKENIZER_SPLITS:
        _log.warning("%s: unknown pre-tokenizer %r; text may split differently from the original model", file, split)


def _sha256(file: Path) -> str:
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
