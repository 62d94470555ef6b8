"""A directory with a model: which of its files transformers reads, what they hash to, and whether they fit."""

import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from attention_influence.errors import ModelError

# In the order in which transformers looks for them; it reads the first that is there and no other.
WEIGHT_FILES = (
    "model.safetensors",
    "model.safetensors.index.json",
    "pytorch_model.bin",
    "pytorch_model.bin.index.json",
)
_SHARD_OF_A_DISTRIBUTED_RUN = re.compile(r"shard-\d{5}-model-\d{5}-of-\d{5}\.safetensors")

# Of config.json: who wrote it, and what the caller decides.
_NO_PART_OF_A_MODEL = {
    "_name_or_path",
    "transformers_version",
    "dtype",
    "torch_dtype",
    "use_cache",
    "attn_implementation",
    "_attn_implementation",
    "_attn_implementation_internal",
}
_NAMED = 5  # tensors that a message names


def read_config(folder: Path) -> dict[str, Any]:
    """config.json of a directory with a model. Raises ModelError that says what the directory seems to be instead."""
    names = {path.name for path in folder.iterdir()}
    if "adapter_config.json" in names:
        base = _json(folder / "adapter_config.json").get("base_model_name_or_path") or "its base model"
        raise ModelError(
            f"{folder} holds a PEFT adapter for {base}, not a whole model. Merge the two first "
            "(peft: merge_and_unload, then save_pretrained), and give the merged directory"
        )
    if "config.json" not in names:
        raise ModelError(f"{folder} has no config.json{_seems_to_be(names)}")
    return _json(folder / "config.json")


def weight_files(folder: Path) -> list[Path]:
    """The files that the weights are read from, one set of them, whatever else lies in the directory.

    Raises ModelError when there is none, or a shard of the set is missing.
    """
    config = read_config(folder)
    names = {path.name for path in folder.iterdir()}
    if any(_SHARD_OF_A_DISTRIBUTED_RUN.fullmatch(name) for name in names):
        raise ModelError(f"{folder} holds the shards of a distributed checkpoint; save the model with save_pretrained")
    asked = config.get("transformers_weights")
    first = next((name for name in ([asked] if asked else WEIGHT_FILES) if (folder / name).is_file()), None)
    if first is None:
        raise ModelError(f"{folder} has none of {', '.join([asked] if asked else WEIGHT_FILES)}{_seems_to_be(names)}")
    if not first.endswith(".index.json"):
        return [folder / first]
    shards = shards_of(folder / first)
    missing = [name for name in shards if not (folder / name).is_file()]
    if missing:
        raise ModelError(
            f"{folder} lacks {len(missing)} of the {len(shards)} weight files that {first} names: {_some(missing)}. "
            "Download or copy them as well"
        )
    return [folder / name for name in shards]


def shards_of(index: Path) -> list[str]:
    """Names of the weight files that an index lists."""
    places = _json(index).get("weight_map")
    if not isinstance(places, dict) or not places:
        raise ModelError(f"{index} names no weight files; download or save the model again")
    return sorted(set(places.values()))


def weights_hash(files: Sequence[Path], config: Mapping[str, Any], code: Sequence[Path] = ()) -> str:
    """sha256 of the weight files, of what the configuration makes of them, and of code that the model brings along."""
    digest = hashlib.sha256(json.dumps(_part_of_the_model(config), sort_keys=True).encode())
    for file in [*sorted(files), *sorted(code)]:
        digest.update(file.name.encode())
        digest.update(bytes.fromhex(file_hash(file)))
    return digest.hexdigest()


def file_hash(file: Path) -> str:
    """sha256 of a file's content."""
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def refuse_misfits(name: str, report: Mapping[str, Any]) -> None:
    """Raises ModelError, naming tensors, unless every weight was read and every tensor of the files was used.

    `report` is transformers' loading report; tied weights and buffers that are computed are no part of it.
    """
    missing, unused = sorted(report["missing_keys"]), sorted(report["unexpected_keys"])
    misshaped = [f"{key} {tuple(is_)} instead of {tuple(want)}" for key, is_, want in sorted(report["mismatched_keys"])]
    wrong = [
        f"{len(tensors)} {what} ({_some(tensors)})"
        for tensors, what in (
            (missing, "missing"),
            (unused, "that the model has no place for"),
            (misshaped, "of another shape"),
        )
        if tensors
    ]
    if wrong or report["error_msgs"]:
        raise ModelError(
            f"{name}: the tensors of its weight files do not fit the model that config.json describes: "
            f"{'; '.join([*wrong, *report['error_msgs']])}{_common_prefix(missing, unused)}. Scores would be those of "
            "random weights"
        )


def _part_of_the_model(setting: Any) -> Any:
    if not isinstance(setting, Mapping):
        return setting
    return {key: _part_of_the_model(value) for key, value in setting.items() if key not in _NO_PART_OF_A_MODEL}


def _common_prefix(missing: Sequence[str], unused: Sequence[str]) -> str:
    """What to do where all names begin alike, as wrappers around a model make them."""
    prefixes = {key.removesuffix(missing[0]) for key in unused if missing and key.endswith(missing[0])} - {""}
    for prefix in sorted(prefixes):
        if all(key.startswith(prefix) for key in unused):
            return (
                f". Their names begin with {prefix!r}, from a wrapper (torch.compile, DataParallel …): save without it"
            )
    return ""


def _seems_to_be(names: set[str]) -> str:
    """What a directory that is no model's may be, for the end of a message."""
    gguf = sorted(name for name in names if name.endswith(".gguf"))
    if gguf:
        return f"; to use a GGUF file in it, name the file: {_some(gguf)}"
    if any(name.startswith("checkpoint-") for name in names):
        newest = max((name for name in names if name.startswith("checkpoint-")), key=lambda name: (len(name), name))
        return f"; it seems to be a training run's: name one of its checkpoints, such as {newest}"
    if any(name.startswith("consolidated") or name == "params.json" for name in names):
        return "; it seems to hold a model in its publisher's own format: convert it to transformers' format"
    if any(name.endswith((".distcp", ".metadata")) for name in names) or any("mp_rank" in name for name in names):
        return "; it seems to be a distributed training checkpoint: save the model with save_pretrained"
    if {"snapshots", "blobs"} <= names:
        return "; it seems to be a folder of the hub's cache: name the hub id, or the folder inside snapshots/"
    if any(name.endswith((".msgpack", ".h5", ".onnx", ".mlmodel")) for name in names):
        return "; it seems to hold another framework's weights: safetensors or PyTorch's .bin are needed"
    return "; a model's directory holds config.json, its weights (model.safetensors) and its tokenizer"


def _some(names: Sequence[str]) -> str:
    more = len(names) - _NAMED
    return ", ".join(names[:_NAMED]) + (f" and {more} more" if more > 0 else "")


def _json(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ModelError(f"{path} cannot be read as JSON: {error}") from error
    if not isinstance(content, dict):
        raise ModelError(f"{path} is not a JSON object; download or save the model again")
    return content
