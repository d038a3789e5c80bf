"""P5 and P6: LIME of images and tables against the `lime` package."""

from collections.abc import Iterator

import numpy as np
import torch
from harness import SETTLED, Case, Counter, Goal
from torch_parts import Counted

from pellucid import explain, wrap
from pellucid.explain import explain_each


def _tiny() -> torch.nn.Sequential:
    torch.manual_seed(0)
    return torch.nn.Sequential(
        torch.nn.Conv2d(3, 16, 3, stride=2, padding=1), torch.nn.ReLU(),
        torch.nn.Conv2d(16, 32, 3, stride=2, padding=1), torch.nn.ReLU(),
        torch.nn.AdaptiveAvgPool2d(1), torch.nn.Flatten(), torch.nn.Linear(32, 10),
    ).eval()  # fmt: skip


def _resnet() -> torch.nn.Module:
    import torchvision

    torch.manual_seed(0)
    return torchvision.models.resnet18().eval()


def _picture(size: int) -> np.ndarray:
    """Smooth colour noise in [0, 1], height × width × 3, in float64 as `lime` wants it."""
    rng = np.random.default_rng(0)
    coarse = torch.tensor(rng.random((1, 3, 12, 12)), dtype=torch.float32)
    fine = torch.nn.functional.interpolate(coarse, (size, size), mode="bicubic").clamp(0, 1)
    return fine[0].permute(1, 2, 0).numpy().astype(np.float64)


def _squares(size: int) -> np.ndarray:
    place = np.arange(size) * 10 // size
    return place[:, None] * 10 + place


def _correlation(ours: np.ndarray, peer: np.ndarray) -> float:
    return float(np.mean([np.corrcoef(a, b)[0, 1] for a, b in zip(ours, peer, strict=True)]))


_FEW = (
    "0.65 s of 0.70 are the network: fewer than 256 rows of so fast a model are left in"
    " micro-batches of 8, in the layout as given, so that equal calls give equal bits; 32 rows with"
    " channels last take 10 % less"
)


def _p5_of(
    label: str, net: torch.nn.Module, size: int, samples: int, goals, reason: str = ""
) -> Iterator[Case]:
    from lime.lime_image import LimeImageExplainer

    counter = Counter()
    counted = Counted(torch.nn.Sequential(net, torch.nn.Softmax(1)), counter).eval()
    picture, units = _picture(size), _squares(size)
    x = torch.tensor(picture, dtype=torch.float32).permute(2, 0, 1)[None].contiguous()
    model = wrap(counted, output="probability")
    with torch.no_grad():
        labels = counted(x)[0].topk(5).indices.tolist()

    def ours(seed: int = 0):
        options = {"features": units, "budget": samples, "ridge": 1.0}
        found = explain_each(model, x, "lime", labels, parameters=options, seed=seed)
        return np.stack([e.extras["unit_values"][0] for e in found])

    def predict(images: np.ndarray) -> np.ndarray:
        with torch.no_grad():
            rows = torch.from_numpy(np.asarray(images, dtype=np.float32)).permute(0, 3, 1, 2)
            return counted(rows).numpy()

    def peer(batch: int):
        def run(seed: int = 0):
            found = LimeImageExplainer(random_state=seed).explain_instance(
                picture, predict, labels=labels, top_labels=None, num_samples=samples,
                batch_size=batch, segmentation_fn=lambda image: units,
            )  # fmt: skip
            return np.array([[w for _, w in sorted(found.local_exp[k])] for k in labels])

        return run

    def alone(batch: int = 4 if size > 200 else 16) -> None:
        rows = torch.rand(batch, 3, size, size).to(memory_format=torch.channels_last)
        with torch.no_grad():
            for _ in range(samples // batch):
                counted(rows)

    for number, (batch, goal) in enumerate(goals.items()):
        yield Case(
            f"LIME, {label}, {samples} samples, 100 squares, 5 labels", f"lime, batch {batch}",
            ours, peer(batch), lambda a, b: float("nan"), counter,
            note=lambda a, b: f"correlation of single runs {_correlation(a, b):.3f}",
            goal=goal, alone=alone, runs=3, memory=number == 0, warm_ups=SETTLED,
            reason=reason,
        )  # fmt: skip


def p5() -> Iterator[Case]:
    """LIME of one image, the same evaluations."""
    yield from _p5_of("tiny CNN 224²", _tiny(), 224, 1000, {10: Goal(2.5), 5: Goal(2)})
    yield from _p5_of("ResNet18 112²", _resnet(), 112, 200, {10: Goal(1.2), 32: Goal()}, _FEW)


def p6() -> Iterator[Case]:
    """LIME of 20 rows of a table with 30 columns."""
    from lime.lime_tabular import LimeTabularExplainer

    counter = Counter()
    rng = np.random.default_rng(0)
    train = rng.normal(size=(2000, 30)) @ (np.eye(30) + rng.normal(size=(30, 30)) / 20)
    one, two = rng.normal(size=(30, 64)) / 4, rng.normal(size=(64, 3)) / 4
    x = train[:20]

    def predict(z: np.ndarray) -> np.ndarray:
        if counter.on:
            counter.forward += len(z)
        scores = np.maximum(z @ one, 0) @ two
        powers = np.exp(scores - scores.max(axis=1, keepdims=True))
        return powers / powers.sum(axis=1, keepdims=True)

    model = wrap(predict, output="probability")

    def ours(seed: int = 0, **options):
        return explain(
            model, x, "lime", target=0, background=train, budget=5000, ridge=1.0, seed=seed,
            **options,
        ).values  # fmt: skip

    def peer(seed: int = 0):
        made = LimeTabularExplainer(train, random_state=seed)
        rows = []
        for row in x:
            found = made.explain_instance(
                row, predict, labels=(0,), num_features=30, num_samples=5000
            )
            rows.append([w for _, w in sorted(found.local_exp[0])])
        return np.array(rows)

    def spread(run) -> float:
        return float(np.median(np.std([run(seed) for seed in range(5)], axis=0)))

    peers = spread(peer)

    def note(run):
        return lambda a, b: (
            f"sd over 5 seeds, median: ours {spread(run):.5f}, peer {peers:.5f};"
            f" correlation of single runs {_correlation(a, b):.3f}"
        )

    def fresh(seed: int = 0):
        return ours(seed, fresh=True)

    def fits(draws: int):
        """As few passes as a weighted line takes, without errors, on bins that are known."""

        def run() -> None:
            z, y = (rng.random((5000, 30)) < 0.25).astype(np.float64), rng.random(5000)
            for _ in range(draws):
                predict(train[rng.integers(0, 2000, 5000)])
            for _ in x:
                weights = np.exp(-(30 - z.sum(axis=1)) / 32)
                centred = (z - weights @ z / weights.sum()) * np.sqrt(weights)[:, None]
                np.linalg.solve(centred.T @ centred + np.eye(30), centred.T @ y)

        return run

    label = "LIME, table of 30 columns, 20 rows, 5000 samples"
    yield Case(
        label + ", one draw for all rows", "lime", ours, peer, lambda a, b: float("nan"), counter,
        note=note(ours), goal=Goal(20, evaluations=0.06), alone=fits(1), runs=3,
        reason="half of our time is each row's own line, r² and standard errors; bare lines without"
        " errors are in 'model alone'",
    )  # fmt: skip
    yield Case(
        label + ", a draw for each row", "lime", fresh, peer, lambda a, b: float("nan"), counter,
        note=note(fresh), goal=Goal(3), alone=fits(20), runs=3,
    )  # fmt: skip
