"""`make bench`, or `python benchmarks/run.py P1 P2 ...`: ratios to peers into RESULTS.md.

Every workload runs in a process of its own (TensorFlow loaded before Triton crashes), and its
memory is measured in two more. A section of RESULTS.md is replaced when its workload is run again.
"""

import argparse
import importlib
import json
import os
import platform
import re
import subprocess
import sys
import tempfile
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("CUDA_VISIBLE_DEVICES", "")
THREADS = "2"

# The room of each workload: a module here with a function of the workload's name in lower case.
WORKLOADS = {
    "P1-smooth": "paths",
    "P1-ReLU": "paths",
    "P2": "paths",
    "P3": "shap_values",
    "P4": "shap_values",
    "P5": "surrogates",
    "P6": "surrogates",
    "P7": "cam",
    "P8": "cam",
    "P9": "deep",
    "P10": "paths",
    "P11": "throughput",
    "P12": "masks",
    "P13": "relevance",
    "P14": "throughput",
    "P15": "standard",
    "P16": "keras_gradients",
    "overhead": "paths",
    "photos": "photos",
}
PACKAGES = (
    "torch", "torchvision", "captum", "grad-cam", "zennit", "shap", "shapiq",
    "lime", "tensorflow", "keras", "tf-keras-vis", "tf-explain", "xplique", "quantus",
    "numpy",
)  # fmt: skip
RESULTS = Path(__file__).with_name("RESULTS.md")
PREAMBLE = """# Benchmarks

Made by `make bench`. Peer and ours run in one process, interleaved, with the same weights, dtype
and threads (2); a ratio above 1 says that we are faster. Evaluations are rows that went through
the model, forward (f) and backward (b), counted by a wrapper around it; h are further rows
through its upper layers alone. 'Peer ÷ model alone' is what a bare loop of the same evaluations
reaches, in the best batches and layout that are known: nothing built around the model can be
faster. Both sides are run 2 to 6 times before the clock starts, in which time ours also finds its
batch sizes and memory layouts. Peak memory is the growth of the resident set's high-water mark
during one more run after as many, in a process of its own for each side. 'Difference' is of the
values, in units of the peer's maximum, unless the notes say otherwise.
"""


def cases(name):
    """The cases of one workload, in order."""
    return getattr(importlib.import_module(WORKLOADS[name]), name.lower().replace("-", "_"))()


def work(name: str, side: str, out: Path) -> None:
    """One workload in this process: time and evaluations, or one side's memory."""
    from harness import measure, peak_memory

    found = []
    for case in cases(name):
        if side == "both":
            line = measure(case)
            print(line.row(None, None), file=sys.stderr, flush=True)
            found.append(line.record())
        else:
            work_of = getattr(case, side)
            found.append(peak_memory(work_of, case.warm_ups) if case.memory else None)
    out.write_text(json.dumps(found))


def started(name: str, side: str) -> list:
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "found.json"
        command = [sys.executable, __file__, name, "--side", side, "--out", str(out)]
        threads = dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS"), THREADS)
        subprocess.run(command, check=True, env=os.environ | threads)
        return json.loads(out.read_text())


def section(name: str) -> str:
    from harness import HEADER, Line, load

    before, when = load(), datetime.now(UTC)
    lines = [Line(**record) for record in started(name, "both")]
    ours, peer = started(name, "ours"), started(name, "peer")
    rows = [line.row(a, b) for line, a, b in zip(lines, ours, peer, strict=True)]
    facts = (
        f"{when:%Y-%m-%d %H:%M} UTC, {os.cpu_count()} cores, load {before} before and {load()}"
        f" after, Python {platform.python_version()}."
    )
    return "\n".join([f"## {name}", "", facts, "", HEADER, *rows, ""])


def versions() -> str:
    found = []
    for package in PACKAGES:
        try:
            found.append(f"{package} {version(package)}")
        except PackageNotFoundError:
            continue
    return "Versions: " + ", ".join(found) + ".\n"


def write(made: dict[str, str]) -> None:
    """RESULTS.md with these sections in place of their older ones."""
    kept = {}
    if RESULTS.exists():
        for part in re.split(r"(?m)^(?=## )", RESULTS.read_text())[1:]:
            kept[part.split()[1]] = part.rstrip() + "\n"
    kept |= made
    ordered = sorted(kept, key=lambda n: list(WORKLOADS).index(n) if n in WORKLOADS else 99)
    RESULTS.write_text("\n".join([PREAMBLE, versions(), *(kept[n] for n in ordered)]))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("names", nargs="*", help=f"of {', '.join(WORKLOADS)}; default: all P")
    parser.add_argument("--side", choices=("both", "ours", "peer"), help=argparse.SUPPRESS)
    parser.add_argument("--out", type=Path, help=argparse.SUPPRESS)
    given = parser.parse_args()
    asked = given.names or [n for n in WORKLOADS if n != "photos"]
    names = [n for a in asked for n in (("P1-smooth", "P1-ReLU") if a == "P1" else (a,))]
    unknown = [n for n in names if n not in WORKLOADS]
    if unknown:
        parser.error(f"no workloads {unknown}; there are {', '.join(WORKLOADS)}")
    if given.side:
        work(names[0], given.side, given.out)
        return
    for name in names:
        made = section(name)
        print(made, flush=True)
        write({name: made})


if __name__ == "__main__":
    main()
