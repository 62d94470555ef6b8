"""Does `experiment` find an effect that is there? Two minutes on two cores; ends in a line with its 95% interval.

    .venv/bin/python benchmarks/experiment_smoke.py

A corpus is made of which a fifth of the documents can only be predicted by looking up what stood before
(`experiment/data/planted.py`). Three networks are trained on those, three on as many random tokens. The exit code is 1
unless the former look up better, with an interval that excludes 0.
"""

import argparse
import json
import shutil
import sys
from pathlib import Path

from attention_influence.cli import main as command
from attention_influence.experiment.data.planted import write_planted


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--out", type=Path, default=Path("build/experiment-smoke"), help="is emptied first")
    parser.add_argument("--workers", type=int, default=2, help="networks trained at the same time")
    options = parser.parse_args()
    shutil.rmtree(options.out, ignore_errors=True)
    configuration = write_planted(options.out / "planted")
    runs = options.out / "runs"
    code = command(["experiment", str(configuration), "--out", str(runs), "--workers", str(options.workers)])
    planted = json.loads((runs / "experiment.json").read_text())["planted"]
    print(planted["sentence"])
    return code or int(planted["found"] is not True)


if __name__ == "__main__":
    sys.exit(main())
