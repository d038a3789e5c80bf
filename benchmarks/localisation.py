"""`python benchmarks/localisation.py COCO APACHE`: whose evidence lies on photographed objects.

COCO is a folder of COCO panoptic photographs (`annotations.json`, `images`, `masks`), APACHE one
with `dog_segmentation_256.png`, `bird_segmentation.png` and their `_mask` pictures, as the
documents of pellucid name their sources. Prints the table of docs/standard.md.
"""

import json
import sys
from pathlib import Path

import numpy as np
from PIL import Image

import pellucid
from pellucid.demo.model import demo_model

SIZE = 224
# Categories that ImageNet has, as the classes of it that are meant.
CLASSES = {
    "bear": range(294, 298), "motorcycle": (665, 670), "pizza": (963,), "bus": (654, 779, 874),
    "teddy bear": (850,), "oven": (827,), "toilet": (861,), "tennis racket": (752,),
    "skis": (795,), "baseball glove": (429, 981),
}  # fmt: skip
METHODS = [
    "saliency", "gradient_x_input", ("integrated_gradients", {"steps": 32}),
    ("smoothgrad", {"samples": 16}), "deeplift", "lrp", "guided_backprop", "gradcam", "hirescam",
    "layercam", "guided_gradcam", ("occlusion", {"window": 32, "stride": 16}),
    ("rise", {"budget": 400}), ("lime", {"budget": 300}),
]  # fmt: skip
SCORES = ["localisation_lift", "relevance_rank_accuracy", "pointing_game"]


def square(image: Image.Image, how: Image.Resampling) -> Image.Image:
    """The central square, resized."""
    side = min(image.size)
    left, top = (image.width - side) // 2, (image.height - side) // 2
    return image.crop((left, top, left + side, top + side)).resize((SIZE, SIZE), how)


def numbers_of(path: Path) -> np.ndarray:
    """The segment of each pixel in a panoptic picture, framed as the photograph is."""
    rgb = np.asarray(square(Image.open(path).convert("RGB"), Image.Resampling.NEAREST), np.int64)
    return rgb @ np.array([1, 256, 65536])


def coco(folder: Path):
    """Photograph, mask and the ImageNet classes of its largest object that has some."""
    told = json.loads((folder / "annotations.json").read_text("utf-8"))
    names = {c["id"]: c["name"] for c in told["categories"]}
    for own in told["annotations"]:
        stem = Path(own["file_name"]).stem
        held = numbers_of(folder / "masks" / f"{stem}.png")
        masks: dict[str, np.ndarray] = {}
        for segment in own["segments_info"]:
            name = names[segment["category_id"]]
            if name in CLASSES:
                masks[name] = masks.get(name, False) | (held == segment["id"])
        masks = {name: m for name, m in masks.items() if m.mean() > 0.005}
        if masks:
            name = max(masks, key=lambda n: masks[n].mean())
            yield folder / "images" / f"{stem}.jpg", masks[name], list(CLASSES[name])


def apache(folder: Path):
    """The dog and the bird whose masks came with them."""
    dog, bird = folder / "dog_segmentation_256.png", folder / "bird_segmentation.png"
    for path, name, value, classes in (
        (dog, "dog_segmentation_mask_256.png", 0, range(151, 269)),
        (bird, "bird_segmentation_mask.png", 3, range(7, 25)),
    ):
        held = np.asarray(square(Image.open(folder / name), Image.Resampling.NEAREST))
        yield path, held == value, list(classes)


def main() -> None:
    photographs = [*coco(Path(sys.argv[1])), *apache(Path(sys.argv[2]))]
    x = np.stack([
        np.asarray(square(Image.open(p).convert("RGB"), Image.Resampling.BILINEAR))
        for p, _, _ in photographs
    ])  # fmt: skip
    masks = np.stack([m for _, m, _ in photographs])
    demo = demo_model()
    model = pellucid.wrap(demo.model, class_names=demo.class_names, preprocess=demo.preprocess)
    outputs = np.asarray(demo.model(demo.preprocess(x)))
    target = [classes[int(np.argmax(o[classes]))] for o, (_, _, classes) in
              zip(outputs, photographs, strict=True)]  # fmt: skip
    seen = sum(int(o.argmax()) == t for o, t in zip(outputs, target, strict=True))
    card = pellucid.evaluate(model, x, METHODS, standard=SCORES, masks=masks, target=target)
    print(f"{len(x)} photographs; the network's first guess is the object in {seen}; the objects"
          f" cover {np.median(masks.mean(axis=(1, 2))):.0%} of a picture (median).\n")  # fmt: skip
    print("| | lift over the mask's area | rank accuracy | pointing game |\n|---|---|---|---|")
    rows = []
    for name in (*card.explanations, *card.controls):
        told = [card.summary(name, score) for score in SCORES]
        mean = float(np.nanmean(card.scores[name]["pointing_game"][""]))
        cells = [f"{t.median:.2f} [{t.low:.2f}, {t.high:.2f}]" for t in told[:2]]
        rows.append((told[0].median, f"| `{name}` | {cells[0]} | {cells[1]} | {mean:.2f} |"))
    print("\n".join(text for _, text in sorted(rows, key=lambda r: -r[0])))


if __name__ == "__main__":
    main()
