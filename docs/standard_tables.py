"""Computes the table of MobileNetV2 on six photographs in `standard.md` again.

`python docs/standard_tables.py` prints it; the slow test of this page holds the one against the
other. The first six of the photographs that ship with pellucid; medians over them.
"""

import sys

import numpy as np

import pellucid
from pellucid.demo import demo_model, demo_photos
from pellucid.demo.photos import load_photo
from pellucid.standard import Scorecard

METHODS = {
    "Grad-CAM": ("gradcam", {}),
    "saliency": ("saliency", {}),
    "integrated gradients": ("integrated_gradients", {"steps": 32}),
}
CONTROLS = ("random", "edges")
SCORES = {"C1": "srg", "C2": "subset_correlation", "I3": "class_contrast"}
COUNT = 6


def six_photographs() -> Scorecard:
    """The scorecard that the table is of."""
    network = demo_model()
    model = pellucid.wrap(
        network.model, class_names=network.class_names, preprocess=network.preprocess
    )
    x = np.stack([load_photo(photo.path) for photo in demo_photos()[:COUNT]])
    return pellucid.evaluate(model, x, list(METHODS.values()), standard=list(SCORES), batch_size=32)


def rows_of(card: Scorecard) -> list[str]:
    """The lines of the table, as the page has them."""
    names = {shown: method for shown, (method, _) in METHODS.items()} | {c: c for c in CONTROLS}
    found = ["| | " + " | ".join(names) + " |", "|" + "---|" * (len(names) + 1)]
    for identifier, score in SCORES.items():
        cells = [
            " / ".join(
                _number(np.nanmedian(values))
                for way, values in card.scores[name][score].items()
                if way in {"", *card.imputers}
            )
            for name in names.values()
        ]
        found.append(f"| {identifier} `{score}` | " + " | ".join(cells) + " |")
    return found


def _number(value: float) -> str:
    return f"{value:.2f}".replace("-0.00", "0.00").replace("-", "−")


def main() -> None:
    """Print the table."""
    sys.stdout.write("\n".join(rows_of(six_photographs())) + "\n")


if __name__ == "__main__":
    main()
