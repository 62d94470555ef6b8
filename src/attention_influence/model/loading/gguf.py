"""A .gguf file as a directory with dense weights, converted once and kept in the user's cache folder."""

import json
import logging
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from attention_influence.errors import ModelError
from attention_influence.model.loading.checkpoint import file_hash, refuse_misfits
from attention_influence.model.loading.gguf_settings import ROPE_TENSORS, settle
from attention_influence.storage.cache import cache_folder

_log = logging.getLogger(__name__)

_FORMAT = 2  # part of the folder's name: raise it when the conversion changes
_RECORD = "conversion.json"

# Pre-tokenizers that transformers' conversion knows by their default alone: byte-level with GPT-2's split.
_BYTE_LEVEL = {"gpt-2", "default", "smollm"}
# Those whose vocabulary is looked up before merges, and whose texts begin with BOS unless the file says otherwise.
_WHOLE_WORDS_FIRST = {
    "llama3",
    "llama-v3",
    "llama-bpe",
    "falcon3",
    "falcon-h1",
    "pixtral",
    "midm-2.0",
    "lfm2",
    "tekken",
}


def dense_copy(file: Path) -> tuple[Path, str]:
    """The directory that holds `file`'s weights in float32 with its tokenizer, and the file's sha256.

    Converts on first use; later the copy's own checksums are verified. Raises ModelError.
    """
    if not file.is_file():
        raise ModelError(f"{file}: no such file")
    source_hash = file_hash(file)
    folder = cache_folder() / "models" / f"{source_hash[:32]}-{_FORMAT}"
    if (folder / _RECORD).is_file():
        _verify(folder)
        return folder, source_hash
    with _writing(file):
        folder.parent.mkdir(parents=True, exist_ok=True)
        building = Path(tempfile.mkdtemp(prefix=".building-", dir=folder.parent))
    try:
        _convert(file, building)
        with _writing(file):
            written = {path.name: file_hash(path) for path in building.iterdir()}
            (building / _RECORD).write_text(json.dumps({"source": source_hash, "files": written}))
            try:
                building.rename(folder)
            except OSError:  # another process was first
                if not (folder / _RECORD).is_file():
                    raise
    finally:
        shutil.rmtree(building, ignore_errors=True)
    return folder, source_hash


def _verify(folder: Path) -> None:
    try:
        files = json.loads((folder / _RECORD).read_text())["files"]
        whole = all(file_hash(folder / name) == content for name, content in files.items())
    except (OSError, ValueError, KeyError):
        whole = False
    if not whole:
        raise ModelError(f"{folder} is damaged (a file's checksum differs); remove it and start again")


@contextmanager
def _writing(file: Path) -> Iterator[None]:
    try:
        yield
    except ModelError:
        raise
    except Exception as error:  # each library has its own for a full disk
        raise ModelError(
            f"{file} cannot be converted into the cache folder {cache_folder()}: {error}. Make room there, or set "
            "XDG_CACHE_HOME to a folder that can be written"
        ) from error


def _convert(file: Path, out: Path) -> None:
    import torch
    from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer, GgufConfig

    place: dict[str, Any] = {"pretrained_model_name_or_path": str(file.parent), "gguf_file": file.name}
    try:
        metadata, rope_tensors, shapes = _read(file)
        if shapes:
            _refuse_without_room(file, out, 4 * sum(shapes.values()))
        config = AutoConfig.from_pretrained(**place)
        settle(config, metadata, rope_tensors)
        loaded: Any = AutoModelForCausalLM.from_pretrained(
            **place,
            config=config,
            dtype=torch.float32,
            attn_implementation="eager",
            output_loading_info=True,
            ignore_mismatched_sizes=True,
            quantization_config=GgufConfig(dequantize=True),
        )
        packed, report = loaded
        tokenizer = AutoTokenizer.from_pretrained(**place)
    except ModelError as error:
        raise ModelError(f"{file}: {error}") from None
    except Exception as error:  # the reader raises many kinds; all mean that the file cannot be used
        raise ModelError(f"{file} cannot be read as a GGUF language model: {error}") from error
    weights = packed.state_dict()
    unused = _unused(set(shapes) - set(ROPE_TENSORS), set(weights), metadata["general.architecture"], config)
    refuse_misfits(str(file), {**report, "unexpected_keys": {*report["unexpected_keys"], *unused}})
    not_dense = [name for name, tensor in weights.items() if not tensor.is_floating_point()]
    if not_dense:
        raise ModelError(f"{file}: transformers leaves {not_dense[0]} and others packed; use an unquantised copy")
    # A model loaded from GGUF refuses to be saved, so its weights move into one made from the same configuration.
    network: Any = AutoModelForCausalLM.from_config(config, dtype=torch.float32)  # type: ignore[no-untyped-call]
    missing, unexpected = network.load_state_dict(weights, strict=False)
    network.tie_weights()
    tied = set(getattr(network, "all_tied_weights_keys", None) or ())
    if unexpected or set(missing) - tied:
        raise ModelError(f"{file}: weights do not fit the model ({[*unexpected, *missing][:5]})")
    _complete(file, metadata, tokenizer)
    with _writing(file):
        network.save_pretrained(out, max_shard_size="1000GB")
        tokenizer.save_pretrained(out)


def _read(file: Path) -> tuple[dict[str, Any], dict[str, list[float]], dict[str, int]]:
    """Key-value pairs (vocabularies left out), tensors of RoPE, and the number of values of each tensor."""
    from gguf import GGUFReader

    reader = GGUFReader(file)
    lists = ("tokens", "scores", "token_type", "merges")
    fields = {k: v for k, v in reader.fields.items() if not (k.startswith("tokenizer.") and k.endswith(lists))}
    tensors = {tensor.name: tensor for tensor in reader.tensors}
    rope = {name: tensors[name].data.reshape(-1).tolist() for name in ROPE_TENSORS if name in tensors}
    sizes = {name: int(tensor.n_elements) for name, tensor in tensors.items()}
    return {name: field.contents() for name, field in fields.items()}, rope, sizes


def _unused(tensors: set[str], weights: set[str], architecture: str, config: Any) -> set[str]:
    """Tensors of the file that no weight of the network is read from."""
    from gguf import MODEL_ARCH_NAMES, get_tensor_name_map

    number = next(number for number, name in MODEL_ARCH_NAMES.items() if name == architecture)
    names = get_tensor_name_map(number, config.num_hidden_layers)
    return tensors - {names.get_name(weight, try_suffixes=(".weight", ".bias")) for weight in weights}


def _refuse_without_room(file: Path, out: Path, size: int) -> None:
    free = shutil.disk_usage(out).free
    if free < size:
        raise ModelError(
            f"its dense copy takes {size / 1e9:.1f} GB, and the cache folder {cache_folder()} has {free / 1e9:.1f} GB "
            "free. Make room there, or set XDG_CACHE_HOME to another folder"
        )


def _complete(file: Path, metadata: dict[str, Any], tokenizer: Any) -> None:
    """Gives the tokenizer what the file says by the name of its pre-tokenizer alone."""
    from tokenizers import pre_tokenizers
    from transformers.integrations.gguf.gguf_tokenizer_mapping import GGUF_PRE_TOKENIZER_SPLITS

    kind, split = metadata.get("tokenizer.ggml.model"), metadata.get("tokenizer.ggml.pre", "default")
    backend = tokenizer.backend_tokenizer
    if split == "smollm":
        backend.pre_tokenizer = pre_tokenizers.Sequence(
            [pre_tokenizers.Digits(individual_digits=True), pre_tokenizers.ByteLevel(add_prefix_space=False)]
        )
    elif split in _WHOLE_WORDS_FIRST:
        backend.model.ignore_merges = True
        tokenizer.add_bos_token = bool(metadata.get("tokenizer.ggml.add_bos_token", True))
    elif kind == "gpt2" and split not in _BYTE_LEVEL and split not in GGUF_PRE_TOKENIZER_SPLITS:
        _log.warning("%s: unknown pre-tokenizer %r; text may split differently from the original model", file, split)
