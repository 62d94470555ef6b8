"""Whether the library works with the lowest versions that it asks for: installs them into a folder of their own.

    python tests/lowest.py [FOLDER]      (by default .venv-lowest; a second run only brings it up to date)

torch alone is the pinned one of constraints.txt: older ones come as builds for CUDA, several gigabytes large. What is
used of 2.11 beyond that is tried with its signatures (`tests/model/test_varlen_attention.py`).
"""

import re
import subprocess
import sys
import tomllib
import venv
from pathlib import Path

ROOT = Path(__file__).parent.parent
# Loading (safetensors and GGUF), scoring, selecting, the report and its plots: a subset that takes a minute or two.
TESTS = (
    "tests/model/test_loading.py",
    "tests/cli/test_score.py::test_scores_are_those_of_the_library",
    "tests/cli/test_score.py::test_json_is_all_that_stands_on_standard_output",
    "tests/cli/test_detect.py",
    "tests/report/test_page.py",
    "tests/report/test_sections.py",
    "tests/selection/test_controlled.py",
)
# Every module of the library but those for tools that are extras.
IMPORTS = """
import importlib, pkgutil, attention_influence
for module in pkgutil.walk_packages(attention_influence.__path__, "attention_influence."):
    if not any(part in module.name for part in ("__main__", "integrations.datatrove")):
        importlib.import_module(module.name)
"""


def lowest(dependencies: list[str], pinned: str) -> list[str]:
    """Requirements with each lower bound as the version; torch as it is pinned."""
    found = []
    for requirement in dependencies:
        bound = re.fullmatch(r"([\w.-]+)>=([\d.]+)(?:,<\d+)?", requirement)
        if bound is None:
            raise SystemExit(f"pyproject.toml: {requirement!r} has no lower bound that this script can read")
        name, version = bound.groups()
        found.append(f"torch=={pinned}" if name == "torch" else f"{name}=={version}")
    return found


def main() -> None:
    folder = Path(sys.argv[1] if len(sys.argv) > 1 else ROOT / ".venv-lowest")
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    pinned = re.search(r"^torch==(\S+)$", (ROOT / "constraints.txt").read_text(), re.M)
    assert pinned is not None
    if not (folder / "pyvenv.cfg").exists():
        venv.create(folder, with_pip=True)
    python = str(folder / "bin" / "python")
    wanted = [*lowest(project["dependencies"], pinned[1]), "pytest", "hypothesis"]
    pip = [python, "-m", "pip", "--disable-pip-version-check"]
    for command in (
        [*pip, "install", "--quiet", *wanted],
        [*pip, "install", "--quiet", "--no-deps", "-e", str(ROOT)],
        [*pip, "check"],
        [python, "-c", IMPORTS],
        [python, "-m", "pytest", "-q", "-p", "no:cacheprovider", *TESTS],
    ):
        done = subprocess.run(command, cwd=ROOT, check=False)
        if done.returncode:
            raise SystemExit(f"failed: {' '.join(command)[:300]}")


if __name__ == "__main__":
    main()
