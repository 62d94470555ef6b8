"""Where a store keeps the plans by which it was screened; their digests are part of fingerprints."""

from collections.abc import Callable, Mapping
from typing import Any

from attention_influence.errors import StoreError
from attention_influence.storage.atomic_files import read_if_there, with_retries
from attention_influence.storage.exclusive_files import create_exclusively
from attention_influence.store.unigrams import digest


def screening_url(store: str) -> str:
    """The file of a store's final plan."""
    return f"{store.rstrip('/')}/screening.safetensors"


def provisional_plan_url(store: str) -> str:
    """The file of the plan before that."""
    return f"{store.rstrip('/')}/provisional.safetensors"


def calibration_url(store: str) -> str:
    """The store of the sample's exact scores, inside the screened one."""
    return f"{store.rstrip('/')}/calibration"


def provisional_url(store: str) -> str:
    """The store of what is scored by the provisional plan, the sample included."""
    return f"{store.rstrip('/')}/provisional"


def screened_url(store: str) -> str:
    """The store itself, of it or of what is scored by the provisional plan."""
    return store.rstrip("/").removesuffix("/provisional")


def settings_of_screening(run: Mapping[str, Any]) -> Mapping[str, Any] | None:
    """What the run of that run.json was screened by; None where all rows are scored, as in the sample's store."""
    settings: Mapping[str, Any] = (run.get("fingerprint") or {}).get("screening") or {}
    return settings if {"plan", "provisional_plan"} & settings.keys() else None


def final_plan_digest(run: Mapping[str, Any]) -> str | None:
    """That of the plan which a finished screened store follows."""
    return (settings_of_screening(run) or {}).get("plan")


def first_plan(url: str, make: Callable[[], bytes]) -> bytes:
    """The plan that is there; where there is none, what `make` makes, or what another worker has written meanwhile."""
    if (content := read_if_there(url)) is None:
        made = make()
        with_retries(lambda: create_exclusively(url, made), f"write {url}")
        content = read_if_there(url)
    assert content is not None
    return content


def read_plan(store: str, expected: str) -> bytes:
    """The plan of that digest. Raises StoreError when it is gone, or another."""
    url = screening_url(store)
    content = read_if_there(url)
    if content is None or digest(content) != expected:
        raise StoreError(
            f"{url} is {'gone' if content is None else 'not what the run began with'}; restore it, or use a new --out"
        )
    return content
