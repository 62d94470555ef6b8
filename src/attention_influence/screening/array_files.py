"""Arrays and a record in one file (safetensors): nothing in it is code, so reading one is safe."""

import json
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.numpy import load, save

from attention_influence.errors import StoreError
from attention_influence.storage.strict_json import strict_json

_RECORD = "record"


def arrays_to_bytes(arrays: Mapping[str, NDArray[Any]], record: Mapping[str, Any]) -> bytes:
    """The file's content; equal arrays and records give equal bytes."""
    contiguous = {name: np.ascontiguousarray(arrays[name]) for name in sorted(arrays)}
    return bytes(save(contiguous, {_RECORD: strict_json(dict(record))}))


def arrays_from_bytes(content: bytes, where: str) -> tuple[dict[str, NDArray[Any]], dict[str, Any]]:
    """The arrays and the record. Raises StoreError, naming `where`, for anything else."""
    try:
        header = json.loads(content[8 : 8 + int.from_bytes(content[:8], "little")])
        return load(content), json.loads(header["__metadata__"][_RECORD])
    except (SafetensorError, ValueError, KeyError, TypeError) as error:
        raise StoreError(f"{where} is damaged, or of another kind ({error})") from error
