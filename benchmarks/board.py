"""What a board of 50 000 rows takes: seconds and peak memory, each in a process of its own.

`python benchmarks/board.py` prints one line a model; `python benchmarks/board.py NAME` runs one.
"""

import json
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROWS = 50_000
NAMES = ("sklearn", "torch")


def table(rows: int):
    """Adult-like: six numbers and six categories, with a slice where labels are turned."""
    import numpy as np
    import pandas

    rng = np.random.default_rng(0)
    found = {f"number {i}": rng.normal(size=rows).round(3) for i in range(6)}
    found |= {f"word {i}": rng.choice(list("abcdef"), rows) for i in range(6)}
    frame = pandas.DataFrame(found)
    score = frame["number 0"] + (frame["word 0"] == "a") + 0.5 * rng.normal(size=rows)
    turned = (frame["word 1"] == "b") & (rng.random(rows) < 0.2)
    return frame, ((score > 0.4) ^ turned).to_numpy().astype(int)


def sklearn_model(frame, labels):
    """Boosted trees behind an encoder of categories."""
    from sklearn.compose import make_column_transformer
    from sklearn.ensemble import HistGradientBoostingClassifier
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import OrdinalEncoder

    words = [c for c in frame.columns if c.startswith("word")]
    encode = make_column_transformer((OrdinalEncoder(), words), remainder="passthrough")
    model = make_pipeline(encode, HistGradientBoostingClassifier(max_iter=50, random_state=0))
    return model.fit(frame[:10_000], labels[:10_000]), frame


def torch_model(frame, labels):
    """A small network on one-hot columns."""
    import numpy as np
    import pandas
    import torch

    x = pandas.get_dummies(frame).to_numpy(np.float32)
    torch.manual_seed(0)
    net = torch.nn.Sequential(
        torch.nn.Linear(x.shape[1], 64), torch.nn.ReLU(), torch.nn.Linear(64, 2)
    )
    optimizer = torch.optim.Adam(net.parameters(), 1e-2)
    rows, classes = torch.from_numpy(x[:10_000]), torch.from_numpy(labels[:10_000])
    for _ in range(60):
        optimizer.zero_grad()
        torch.nn.functional.cross_entropy(net(rows), classes).backward()
        optimizer.step()
    return net.eval(), x


def run(name: str) -> None:
    """Make the board and its page, and print what they took beside what the start took."""
    import pellucid

    frame, labels = table(ROWS)
    model, x = (sklearn_model if name == "sklearn" else torch_model)(frame, labels)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    began = time.perf_counter()
    board = pellucid.board(model, x, labels)
    made = time.perf_counter() - began
    with tempfile.TemporaryDirectory() as folder:
        size = board.save(Path(folder) / "board.html").stat().st_size
    print(
        json.dumps(
            {
                "model": name,
                "rows": board.rows,
                "seconds": round(made, 1),
                "seconds_with_page": round(time.perf_counter() - began, 1),
                "peak_gib": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20, 2),
                "peak_gib_before": round(before, 2),
                "page_mb": round(size / 1e6, 2),
                "passes": board.evaluations,
                "stages": {s.name: [s.rows, round(s.seconds, 1)] for s in board.stages},
                "slices": [list(s.conditions) for s in board.slices or ()],
            }
        )
    )


if __name__ == "__main__":
    if len(sys.argv) > 1:
        run(sys.argv[1])
    else:
        for one in NAMES:
            subprocess.run([sys.executable, __file__, one], check=True)
