"""Loading a model from a hub id, a directory or a .gguf file."""

import ctypes
import hashlib
import json
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from transformers import AutoModelForCausalLM, AutoTokenizer

from attention_influence.errors import ModelError
from attention_influence.model.gguf import dense_copy
from attention_influence.model.language_model import LanguageModel
from attention_influence.model.precision import DTYPES

# Of config.json: who wrote it, and what the caller decides.
_NO_PART_OF_A_MODEL = {"_name_or_path", "transformers_version", "dtype", "torch_dtype", "use_cache"}
_NEEDED_FILES = ["*.json", "*.safetensors", "*.model", "*.txt", "*.jinja"]


def load_model(
    name: str, dtype: str = "bf16", device: str | None = None, trust_remote_code: bool = False
) -> LanguageModel:
    """The model named by a hub id, a directory or a .gguf file, with weights as `dtype` ("bf16" or "fp32").

    `device` is torch's name ("cpu", "cuda:1"); by default CUDA if there is a card. A CPU without products of bfloat16
    computes with bf16 weights in float32. With fp32 weights TF32 is switched off for the process. Code that a model
    brings along runs only if `trust_remote_code`. Raises ModelError.
    """
    if dtype not in DTYPES:
        raise ModelError(f"dtype {dtype!r} is unknown; choose one of {', '.join(DTYPES)}")
    device = device or ("cuda" if torch.cuda.is_available() else "cpu")
    folder, weights_hash = _find(name, trust_remote_code)
    if dtype == "fp32":
        torch.set_float32_matmul_precision("highest")
    try:
        tokenizer = AutoTokenizer.from_pretrained(folder, trust_remote_code=trust_remote_code)
        network: Any = AutoModelForCausalLM.from_pretrained(
            folder, dtype=DTYPES[dtype], trust_remote_code=trust_remote_code, low_cpu_mem_usage=True
        )
    except (OSError, ValueError, KeyError, ImportError, RuntimeError, SafetensorError) as error:
        raise ModelError(f"cannot load a causal language model and its tokenizer from {name}: {error}") from error
    model = LanguageModel(network, tokenizer, name, weights_hash or _hash_files(folder))
    model.loaded_by = (name, dtype, trust_remote_code)
    try:
        model.on(device)
    except (RuntimeError, AssertionError) as error:
        raise ModelError(f"{name} cannot be put on the device {device!r}: {error}") from error
    _give_memory_back()
    return model


def from_network(network: Any, tokenizer: Any, name: str = "in memory") -> LanguageModel:
    """A model that already is in memory: a transformers causal language model and its fast tokenizer.

    Takes the network over: its attention is replaced for good.
    """
    digest = hashlib.sha256()
    for key, tensor in sorted(network.state_dict().items()):
        digest.update(key.encode())
        digest.update(tensor.detach().cpu().contiguous().flatten().view(torch.uint8).numpy().tobytes())
    return LanguageModel(network, tokenizer, name, digest.hexdigest())


def _give_memory_back() -> None:
    """Of weights in another type, which glibc would keep; no other libc has a name for it."""
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim is not None:
        trim(0)


def _find(name: str, trust_remote_code: bool) -> tuple[Path, str | None]:
    path = Path(name).expanduser()
    if path.suffix == ".gguf":
        return dense_copy(path)
    if path.is_dir():
        if not (path / "config.json").is_file():
            raise ModelError(f"{path} has no config.json; a model's directory holds config, weights and tokenizer")
        return path, None
    if path.exists() or name.count("/") > 1 or name.startswith((".", "/", "~")):
        raise ModelError(f"{name} is neither a model's directory, a .gguf file nor a hub id")
    from huggingface_hub import snapshot_download

    try:
        files = [*_NEEDED_FILES, "*.py"] if trust_remote_code else _NEEDED_FILES
        return Path(snapshot_download(name, allow_patterns=files)), None
    except Exception as error:  # the hub's client raises many kinds; all mean the same to the user
        raise ModelError(
            f"{name} is not a local directory, and could not be had from the model hub: {error}"
        ) from error


def _hash_files(folder: Path) -> str:
    """Of the weights, and of what the configuration makes of them."""
    files = sorted(folder.glob("*.safetensors")) or sorted(folder.glob("*.bin"))
    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    said = {key: value for key, value in config.items() if key not in _NO_PART_OF_A_MODEL}
    digest = hashlib.sha256(json.dumps(said, sort_keys=True).encode())
    for file in files:
        digest.update(file.name.encode())
        with file.open("rb") as stream:
            digest.update(hashlib.file_digest(stream, "sha256").digest())
    return digest.hexdigest()
