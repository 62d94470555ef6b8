"""Models from the model hub: one revision, one set of weights, and nothing that is not read."""

import fnmatch
import os
from collections.abc import Iterable
from glob import escape
from pathlib import Path

from attention_influence.errors import ModelError
from attention_influence.model.loading.checkpoint import WEIGHT_FILES, shards_of

# Beside the weights: configuration and tokenizer, at the top of the repository.
_SMALL_FILES = ("*.json", "*.model", "*.txt", "*.jinja", "*.tiktoken")


def split_revision(name: str, revision: str | None) -> tuple[str, str | None]:
    """Hub id and revision of "id@revision", or of the two apart. Raises ModelError where both are given and differ."""
    plain, _, written = name.partition("@")
    if written and revision and written != revision:
        raise ModelError(f"{name} names one revision and --revision {revision} another; give one of them")
    return plain, written or revision


def download(name: str, revision: str | None, trust_remote_code: bool) -> tuple[Path, str]:
    """The folder in the hub's cache with a model's files, downloaded if need be, and its commit.

    Without a connection, what is in the cache is taken. Raises ModelError.
    """
    from huggingface_hub import HfApi, hf_hub_download, snapshot_download
    from huggingface_hub.errors import EntryNotFoundError

    asked = revision or "main"
    try:
        try:
            info = HfApi().model_info(name, revision=revision)
        except Exception as error:
            if not _is_without_connection(error):
                raise
            # Only what was downloaded for the same revision before; whether it is whole is seen when it is read.
            kept = snapshot_download(name, revision=asked, local_files_only=True, allow_patterns=["config.json"])
            return Path(kept), Path(kept).name
        names = [file.rfilename for file in info.siblings or ()]
        first = _first_weights(name, names)
        wanted = [first]
        if first.endswith(".index.json"):
            wanted += shards_of(Path(hf_hub_download(name, first, revision=info.sha)))
            gone = sorted(set(wanted) - set(names))
            if gone:
                raise ModelError(f"{name} lacks weight files that its {first} names: {', '.join(gone)}")
        wanted += [file for file in names if _is_needed(file, trust_remote_code)]
        folder = Path(snapshot_download(name, revision=asked, allow_patterns=[escape(file) for file in wanted]))
    except ModelError:
        raise
    except EntryNotFoundError as error:
        raise ModelError(f"{name}: {_why(error, name, asked)}") from error
    except Exception as error:  # the hub's client raises many kinds
        raise ModelError(f"{name} could not be downloaded: {_why(error, name, asked)}") from error
    return folder, folder.name


def _first_weights(name: str, names: Iterable[str]) -> str:
    there = set(names)
    first = next((file for file in WEIGHT_FILES if file in there), None)
    if "adapter_config.json" in there:
        raise ModelError(
            f"{name} holds a PEFT adapter, not a whole model. Merge it into its base model first (peft: "
            "merge_and_unload, then save_pretrained), and give the merged directory"
        )
    if "config.json" not in there or first is None:
        gguf = sorted(file for file in there if file.endswith(".gguf"))
        hint = f"; it holds GGUF files: download one of them and name the file ({', '.join(gguf[:3])})" if gguf else ""
        raise ModelError(
            f"{name} has no {'config.json' if 'config.json' not in there else ' or '.join(WEIGHT_FILES)}{hint}"
        )
    return first


def _is_needed(file: str, trust_remote_code: bool) -> bool:
    if file.endswith(".py"):
        return trust_remote_code
    return (
        "/" not in file
        and not file.endswith(".index.json")
        and any(fnmatch.fnmatch(file, pattern) for pattern in _SMALL_FILES)
    )


def _is_without_connection(error: Exception) -> bool:
    from huggingface_hub.errors import HfHubHTTPError, OfflineModeIsEnabled

    if isinstance(error, HfHubHTTPError):
        return error.response is not None and error.response.status_code >= 500
    return isinstance(error, OfflineModeIsEnabled | ConnectionError | TimeoutError) or any(
        word in type(error).__name__ for word in ("Connect", "Timeout", "Network")
    )


def _why(error: Exception, name: str, revision: str) -> str:
    """One sentence for each of the ways in which the hub refuses."""
    from huggingface_hub import errors

    place = os.environ.get("HF_ENDPOINT", "the model hub")
    if isinstance(error, errors.GatedRepoError):
        return "its publisher gives access on request: ask for it on the model's page, and log in (hf auth login)"
    if isinstance(error, errors.RepositoryNotFoundError):
        return f"there is no such model on {place}, or it is private: check the spelling, or log in (hf auth login)"
    if isinstance(error, errors.RevisionNotFoundError):
        return f"it has no revision {revision!r}: name a branch, a tag or a whole commit hash"
    if isinstance(error, errors.LocalEntryNotFoundError):
        return (
            f"{place} cannot be reached, and revision {revision!r} is not in the cache. Check the connection, or give "
            "the directory of a copy"
        )
    if isinstance(error, errors.HFValidationError):
        return "it is neither a directory, a .gguf file nor a hub id (owner/name)"
    return str(error).strip().split("\n")[0] or type(error).__name__
