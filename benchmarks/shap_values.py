"""P3 and P4: Shapley values by sampled coalitions against captum, shapiq and shap."""

import warnings
from collections.abc import Callable, Iterator
from functools import cache
from itertools import product
from math import comb

import numpy as np
import torch
from harness import SETTLED, Case, Counter, Goal
from torch_parts import Counted, captum, digits, relative, trained

from pellucid import explain, wrap
from pellucid.explain import explain_each

PLAYERS, ROWS, PICTURES, SEEDS = 12, 32, 12, 3
_COMPUTING = (
    "nine tenths of our time are the network's convolutions and pooling on masked pictures; the"
    " bound is the same batches over and over"
)
_AROUND = (
    "of 0.26 s 0.13 are the network on fresh rows, 0.03 making them, 0.03 keeping the random state"
    " around 132 micro-batches, 0.04 drawing coalitions, the regression and its errors"
)
BUDGETS = (50, 100, 200, 400, 800)


@cache
def columns() -> tuple[torch.Tensor, torch.Tensor]:
    """The 12 directions of the largest variance of the digits, as a table."""
    x, y = digits()
    flat = x[:, 0, ::4, ::4].reshape(len(x), -1)
    flat = flat - flat.mean(0)
    _, _, directions = torch.linalg.svd(flat, full_matrices=False)
    found = flat @ directions[:PLAYERS].T
    return found / found.std(0), y


@cache
def perceptron(inputs: int, outputs: int) -> torch.nn.Sequential:
    """Two hidden layers, of 256 for 12 features, trained on the first 1 500 digits."""
    torch.manual_seed(0)
    wide = 256 if inputs == PLAYERS else 64
    net = torch.nn.Sequential(
        torch.nn.Linear(inputs, wide), torch.nn.ReLU(), torch.nn.Linear(wide, wide),
        torch.nn.ReLU(), torch.nn.Linear(wide, outputs),
    )  # fmt: skip
    x, y = columns() if inputs == PLAYERS else thirty()
    optimizer = torch.optim.Adam(net.parameters(), lr=2e-3)
    order = np.random.default_rng(0)
    for _ in range(10):
        for rows in np.array_split(order.permutation(1500), 24):
            optimizer.zero_grad()
            torch.nn.functional.cross_entropy(net(x[rows]), y[rows] % outputs).backward()
            optimizer.step()
    return net.eval()


@cache
def thirty() -> tuple[torch.Tensor, torch.Tensor]:
    """The 30 pixels of the largest variance of the 8 by 8 digits."""
    x, y = digits()
    flat = x[:, 0, ::4, ::4].reshape(len(x), -1)
    return flat[:, flat.std(0).argsort(descending=True)[:30]], y


def patches() -> np.ndarray:
    """Twelve patches of a picture of 32 by 32: four rows of three."""
    rows, places = np.arange(32) * 4 // 32, np.arange(32) * 3 // 32
    return rows[:, None] * 3 + places[None]


def composed(x: torch.Tensor, units: np.ndarray, masks: np.ndarray) -> torch.Tensor:
    """One sample with the players outside each coalition set to 0."""
    kept = torch.tensor(np.asarray(masks)[:, units], dtype=x.dtype)
    return x * (kept if x.ndim == 1 else kept[:, None])


def exact(net: torch.nn.Module, x: torch.Tensor, units: np.ndarray, target: torch.Tensor):
    """The definition over all 4 096 coalitions, in float64 from float32 outputs."""
    masks = np.array(list(product([False, True], repeat=PLAYERS)))
    sizes = masks.sum(1)
    gain = np.array([1 / (PLAYERS * comb(PLAYERS - 1, s)) for s in range(PLAYERS)])
    found = []
    with torch.no_grad():
        for sample, label in zip(x, target, strict=True):
            worth = net(composed(sample, units, masks))[:, label].double().numpy()
            found.append(
                [
                    (np.where(own, 1, -1) * gain[sizes - own]) @ worth
                    for own in masks.T
                ]
            )  # fmt: skip
    return np.array(found)


def l2(found: np.ndarray, truth: np.ndarray) -> np.ndarray:
    return np.linalg.norm(found - truth, axis=-1) / np.linalg.norm(truth, axis=-1)


def p3() -> Iterator[Case]:
    """Kernel SHAP of 12 features against all coalitions: error at each budget, and time."""
    natural = np.arange(PLAYERS)
    x, _ = columns()
    yield from _p3_of("MLP", perceptron(PLAYERS, 10), x[1500 : 1500 + ROWS], natural)
    pictures = digits()[0][1500 : 1500 + PICTURES]
    yield from _p3_of("CNN", trained("ReLU"), pictures, patches())


def _p3_of(
    kind: str, net: torch.nn.Sequential, x: torch.Tensor, units: np.ndarray
) -> Iterator[Case]:
    counter = Counter()
    counted = Counted(net, counter)
    with torch.no_grad():
        target = net(x).argmax(1)
    model = wrap(counted)
    features = None if x.ndim == 2 else units
    mask = torch.tensor(units)[None] if x.ndim == 2 else torch.tensor(units)[None, None]
    truth = cache(lambda: exact(net, x, units, target))

    def alone() -> None:
        """The same evaluations in the layout and batches that are fastest."""
        rows = torch.zeros(4096, *x.shape[1:])
        if x.ndim == 4:
            rows = rows[:64].to(memory_format=torch.channels_last)
        with torch.no_grad():
            for _ in range(len(x) * 800 // len(rows)):
                net(rows)

    def ours(budget: int, seed: int = 0) -> np.ndarray:
        e = explain(
            model, x, "kernel_shap", target=target.tolist(), features=features, budget=budget,
            seed=seed,
        )  # fmt: skip
        return e.extras["unit_values"]

    def by_captum(budget: int, seed: int = 0) -> np.ndarray:
        torch.manual_seed(seed)
        found = captum().KernelShap(counted).attribute(
            x, target=target, feature_mask=mask, n_samples=budget, perturbations_per_eval=256
        )  # fmt: skip
        flat = found.reshape(len(x), -1).numpy()
        first = [int(np.flatnonzero(units.ravel() == u)[0]) for u in range(PLAYERS)]
        return flat[:, first]

    def by_shapiq(budget: int, seed: int = 0) -> np.ndarray:
        import shapiq

        found = []
        for sample, label in zip(x, target, strict=True):

            def game(coalitions, sample=sample, label=label):
                with torch.no_grad():
                    return counted(composed(sample, units, coalitions))[:, label].numpy()

            approximator = shapiq.KernelSHAP(n=PLAYERS, pairing_trick=True, random_state=seed)
            values = approximator.approximate(budget=budget, game=game)
            found.append(values.get_n_order_values(1))
        return np.array(found)

    for name, peer, goal in (
        ("captum KernelShap, 256 a batch", by_captum, Goal(8)),
        ("shapiq KernelSHAP, paired", by_shapiq, Goal(5)),
    ):
        yield Case(
            name=f"Kernel SHAP, 12 features, {len(x)} rows, {kind}, 800 evaluations",
            peer_name=name,
            ours=lambda: ours(800),
            peer=lambda peer=peer: peer(800),
            difference=relative,
            counter=counter,
            note=lambda a, b, peer=peer: _errors(ours, peer, truth()),
            goal=goal,
            alone=alone,
            runs=3,
            memory=False,
            warm_ups=SETTLED,
            reason=_COMPUTING if kind == "CNN" else "",
        )


def _errors(
    ours: Callable[..., np.ndarray], peer: Callable[..., np.ndarray], truth: np.ndarray
) -> str:
    """Median relative L2 error over rows and seeds, at each budget."""
    lines = []
    for budget in BUDGETS:
        pair = [
            np.median([l2(side(budget, seed), truth) for seed in range(SEEDS)])
            for side in (ours, peer)
        ]
        lines.append(f"{budget}: {pair[0]:.4f} / {pair[1]:.4f}")
    return "median L2 error ours / peer at " + ", ".join(lines)


def p4() -> Iterator[Case]:
    """Kernel SHAP of 30 features, 50 rows, 100 background rows, 3 outputs."""
    counter = Counter()
    net = Counted(perceptron(30, 3), counter)
    x, _ = thirty()
    rows, background = x[1500:1550].numpy(), x[:100].numpy()
    model = wrap(net)

    def ours(budget: int, count: int = 50, seed: int = 0) -> np.ndarray:
        found = explain_each(
            model, rows[:count], "kernel_shap", (0, 1, 2), seed=seed,
            parameters={"background": background, "budget": budget * len(background)},
        )  # fmt: skip
        return np.stack([e.values for e in found], axis=-1)

    def alone(coalitions: int) -> Callable[[], None]:
        def run() -> None:
            rows = torch.zeros(4096, 30)
            with torch.no_grad():
                for _ in range(coalitions * 100 // 4096):
                    net(rows)

        return run

    def by_shap(budget: int, count: int = 50, seed: int = 0) -> np.ndarray:
        import shap

        def function(z: np.ndarray) -> np.ndarray:
            with torch.no_grad():
                return net(torch.tensor(z, dtype=torch.float32)).numpy()

        np.random.seed(seed)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            explainer = shap.KernelExplainer(function, background)
            return np.asarray(
                explainer.shap_values(rows[:count], nsamples=budget, l1_reg=False, silent=True)
            )

    def note(a: np.ndarray, b: np.ndarray) -> str:
        """The truth is of permutations, which neither side's estimator knows of."""
        truth = _by_permutations(net.inside, rows[:4], background)
        axes = (1, 2)

        def error(found: np.ndarray) -> float:
            off = np.sqrt(((found - truth) ** 2).sum(axis=axes) / (truth**2).sum(axis=axes))
            return float(np.median(off))

        told = []
        for budget in (200, 500, 1000):
            pair = [
                np.median([error(side(budget, 4, seed)) for seed in range(SEEDS)])
                for side in (ours, by_shap)
            ]
            told.append(f"{budget}: {pair[0]:.4f} / {pair[1]:.4f}")
        return "L2 error of 4 rows, ours / peer at " + ", ".join(told)

    yield Case(
        name="Kernel SHAP, 30 features, 50 rows, background 100, 3 outputs, 1 000 coalitions",
        peer_name="shap KernelExplainer, l1_reg=False",
        ours=lambda: ours(1000),
        peer=lambda: by_shap(1000),
        difference=relative,
        counter=counter,
        note=note,
        goal=Goal(3.5),
        alone=alone(50 * 1000),
        runs=2,
    )
    yield Case(
        name="The same error: ours at 500 coalitions, 20 rows",
        peer_name="shap KernelExplainer at 1 000",
        ours=lambda: ours(500, 20),
        peer=lambda: by_shap(1000, 20),
        difference=relative,
        counter=counter,
        goal=Goal(6),
        reason=_AROUND,
        alone=alone(20 * 500),
        runs=2,
        memory=False,
    )


def _by_permutations(
    net: torch.nn.Module, rows: np.ndarray, background: np.ndarray, orders: int = 2000
) -> np.ndarray:
    """Shapley values by antithetic orders, one background row an order, `(n, features, 3)`."""
    draws = np.random.default_rng(123)
    total = np.zeros((len(rows), rows.shape[1], 3))
    for k in range(orders):
        order = draws.permutation(rows.shape[1])
        for way in (order, order[::-1]):
            walk = np.arange(rows.shape[1] + 1)[:, None] > np.argsort(way)[None]
            start = background[k % len(background)]
            points = np.where(walk[None], rows[:, None], start)
            with torch.no_grad():
                out = net(torch.tensor(points.reshape(-1, rows.shape[1]))).double().numpy()
            gains = np.diff(out.reshape(len(rows), -1, 3), axis=1)
            total[:, way] += gains
    return total / (2 * orders)
