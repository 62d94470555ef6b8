"""Loading a model from a hub id, a directory or a .gguf file."""

import hashlib
import inspect
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer
from transformers.utils import logging as transformers_logging

from attention_influence.config.model import OTHER_NAMES
from attention_influence.errors import ModelError
from attention_influence.model.device import find_device
from attention_influence.model.language_model import LanguageModel
from attention_influence.model.loading.checkpoint import read_config, refuse_misfits, weight_files, weights_hash
from attention_influence.model.loading.gguf import dense_copy
from attention_influence.model.loading.hub import download, split_revision
from attention_influence.model.precision import DTYPES


def load_model(
    name: str,
    dtype: str = "bf16",
    device: str | None = None,
    trust_remote_code: bool = False,
    revision: str | None = None,
) -> LanguageModel:
    """The model named by a hub id, a directory or a .gguf file, with weights as `dtype`.

    `dtype` is "bf16" (also "auto", "bfloat16"), "fp16" (also "float16") or "fp32" (also "float32").

    `device` is torch's name ("cpu", "cuda:1"); by default CUDA if available. A CPU computes in float32 with fp16
    weights, and any device with bf16 weights where it has no bfloat16 matmuls. With fp32 weights TF32 is switched off
    for the process. Code that a model brings along runs only if `trust_remote_code`. `revision` is a branch, tag or
    commit on the hub, and may also be written as "id@revision". Raises ModelError.
    """
    dtype = OTHER_NAMES.get(dtype, dtype)
    if dtype not in DTYPES:
        raise ModelError(f"dtype {dtype!r} is unknown; choose one of {', '.join([*OTHER_NAMES, *DTYPES])}")
    placed = find_device(device)
    with _without_progress_bars():
        folder, source_hash, commit = _find(name, trust_remote_code, revision)
    if commit is not None:
        name, revision = split_revision(name, revision)
    shown = f"{name}@{revision}" if revision else name
    files, config = weight_files(folder), read_config(folder)
    if dtype == "fp32":
        torch.set_float32_matmul_precision("highest")
    try:
        tokenizer = AutoTokenizer.from_pretrained(folder, trust_remote_code=trust_remote_code)
        with _without_progress_bars():
            network, report = _load(folder, dtype, trust_remote_code)
    except Exception as error:  # of many kinds; all mean that it cannot be loaded
        # The library that reads weights says of these that there is no such file.
        closed = [str(file) for file in files if not os.access(file, os.R_OK)]
        reason = f"no permission to read {closed[0]}" if closed else _reason(error)
        raise ModelError(f"cannot load a causal language model and its tokenizer from {shown}: {reason}") from error
    refuse_misfits(shown, report)
    if dtype == "fp16":
        _refuse_overflow(shown, network)
    if not tokenizer("a", add_special_tokens=False).input_ids:
        raise ModelError(
            f"{shown} has no tokenizer that transformers can read: what it makes of the files gives no tokens. "
            "Save a fast tokenizer there, as tokenizer.json"
        )
    model = LanguageModel(network, tokenizer, shown, source_hash or weights_hash(files, config, _own_code(network)))
    model.loaded_by = (name, dtype, trust_remote_code, commit)
    try:
        model.on(str(placed))
    except (RuntimeError, AssertionError) as error:
        raise ModelError(f"{shown} cannot be put on {placed}: {error}") from error
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


@contextmanager
def _without_progress_bars() -> Iterator[None]:
    """Those of transformers and of the hub: library calls print nothing."""
    shown = transformers_logging.is_progress_bar_enabled()
    transformers_logging.disable_progress_bar()  # type: ignore[no-untyped-call]
    try:
        yield
    finally:
        if shown:
            transformers_logging.enable_progress_bar()  # type: ignore[no-untyped-call]


def _load(folder: Path, dtype: str, trust_remote_code: bool) -> tuple[Any, dict[str, Any]]:
    """The network, and transformers' report of tensors that are missing, without use, or of another shape."""
    config = AutoConfig.from_pretrained(folder, trust_remote_code=trust_remote_code)
    # Attention is replaced later: what the configuration asks for need not be installed.
    config._attn_implementation = "eager"
    loaded: Any = AutoModelForCausalLM.from_pretrained(
        folder,
        config=config,
        dtype=DTYPES[dtype],
        trust_remote_code=trust_remote_code,
        attn_implementation="eager",
        output_loading_info=True,
        ignore_mismatched_sizes=True,  # the report names them
    )
    network, report = loaded
    return network, report


def _refuse_overflow(shown: str, network: Any) -> None:
    for name, weights in network.named_parameters():
        if not weights.isfinite().all():
            raise ModelError(
                f"{shown}: {name} has values beyond the range of float16. Give --dtype bfloat16 or float32"
            )


def _reason(error: Exception) -> str:
    if "automatic conversion of the weights" in str(error):
        return (
            "tensors that belong together, such as the experts of a layer, are incomplete or differ in shape "
            "(TRANSFORMERS_VERBOSITY=warning lists them)"
        )
    return f"{type(error).__name__}: {error}" if isinstance(error, KeyError) or not str(error) else str(error)


def _own_code(network: Any) -> list[Path]:
    """Source files of a model that brings its own code along, as transformers runs them."""
    kind = type(network)
    if not kind.__module__.startswith("transformers_modules."):
        return []
    return sorted(Path(inspect.getfile(kind)).parent.glob("*.py"))


def _find(name: str, trust_remote_code: bool, revision: str | None) -> tuple[Path, str | None, str | None]:
    """The model's directory; the hash of its GGUF file or None; its commit on the hub or None."""
    path = Path(name).expanduser()
    if revision is not None and (path.exists() or path.suffix == ".gguf"):
        raise ModelError(f"{name} is on this machine: a revision ({revision}) belongs to a hub id")
    if path.suffix == ".gguf":
        return *dense_copy(path), None
    if path.is_dir():
        return path, None, None
    if path.exists() or name.partition("@")[0].count("/") > 1 or name.startswith((".", "/", "~")):
        raise ModelError(f"{name} is neither a model's directory, a .gguf file nor a hub id")
    plain, revision = split_revision(name, revision)
    folder, commit = download(plain, revision, trust_remote_code)
    return folder, None, commit
