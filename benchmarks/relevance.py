"""P13: layer-wise relevance propagation against zennit and Captum, VGG11 and ResNet18 with ReLUs.

Random weights: a rule's cost does not depend on them. The peers hook modules, so Captum gets a copy
whose ReLUs are not in place, and zennit the canonizer that its ResNets need.
"""

import copy
import warnings
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import torch
from harness import Case, Goal
from torch import nn
from torch_parts import captum, relative

from pellucid import explain, wrap

REASON = (
    "a plain gradient alone takes 0.35 s on VGG11, a second forward with the positive weights 0.15;"
    " the rest are passes over memory for biases and slopes, and the explanation itself"
)
SIZE, BATCH, CLASS = 128, 8, 1
EPSILON = 1e-6


def network(name: str) -> nn.Module:
    import torchvision

    torch.manual_seed(0)
    net = getattr(torchvision.models, name)(weights=None, num_classes=1000).eval()
    for module in net.modules():
        if isinstance(module, nn.ReLU):
            module.inplace = False
    return net


def pictures() -> np.ndarray:
    draws = np.random.default_rng(0)
    return draws.normal(size=(BATCH, 3, SIZE, SIZE)).astype(np.float32)


def by_zennit(net: nn.Module, x: torch.Tensor, make: Callable[[], Any]) -> Callable[[], np.ndarray]:
    from zennit.attribution import Gradient

    hot = nn.functional.one_hot(torch.full((len(x),), CLASS), 1000)

    def run() -> np.ndarray:
        with Gradient(net, make()) as attributor:
            return attributor(x, lambda output: output * hot)[1].detach().numpy()

    return run


def by_captum(net: nn.Module, x: torch.Tensor) -> Callable[[], np.ndarray]:
    from captum.attr._utils.lrp_rules import EpsilonRule

    def run() -> np.ndarray:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            for module in net.modules():
                if isinstance(module, nn.Conv2d | nn.Linear):
                    module.rule = EpsilonRule(EPSILON)
            return captum().LRP(net).attribute(x, target=CLASS).detach().numpy()

    return run


def plain_gradient(net: nn.Module, x: torch.Tensor) -> Callable[[], object]:
    """A forward and a backward: ε-LRP needs no less."""

    def run() -> object:
        given = x.clone().requires_grad_()
        return torch.autograd.grad(net(given)[:, CLASS].sum(), given)

    return run


def p13() -> Iterator[Case]:
    from zennit import composites, rules
    from zennit.torchvision import ResNetCanonizer
    from zennit.types import Activation, AvgPool, Linear

    def epsilon() -> Any:
        return composites.LayerMapComposite(
            [(Activation, rules.Pass()), (AvgPool, rules.Norm()), (Linear, rules.Epsilon(EPSILON))]
        )

    x = pictures()
    given = torch.from_numpy(x)
    wanted: list[tuple[str, str, str, Callable[[], Any] | None, Goal]] = [
        ("vgg11", "epsilon", "zennit Epsilon", epsilon, Goal(1.7)),
        ("vgg11", "epsilon", "captum LRP", None, Goal(1.4)),
        ("vgg11", "epsilon_plus", "zennit EpsilonPlus", composites.EpsilonPlus, Goal(1.7)),
        ("vgg11", "epsilon_alpha2_beta1", "zennit EpsilonAlpha2Beta1",
         composites.EpsilonAlpha2Beta1, Goal(1.7)),
        ("resnet18", "epsilon_plus", "zennit EpsilonPlus, its ResNets' canonizer",
         lambda: composites.EpsilonPlus(canonizers=[ResNetCanonizer()]), Goal(1.7)),
    ]  # fmt: skip
    for name, composite, peer_name, make, goal in wanted:
        net = network(name)
        model = wrap(net)

        def ours(model: Any = model, composite: str = composite) -> np.ndarray:
            options = {"composite": composite, "epsilon": EPSILON, "absolute": True}
            return explain(model, x, "lrp", target=CLASS, **options).values

        theirs = copy.deepcopy(net)
        yield Case(
            f"LRP {composite}, {name} {SIZE}², {BATCH} images", peer_name,
            ours, by_captum(theirs, given) if make is None else by_zennit(theirs, given, make),
            relative, None, goal=goal, alone=plain_gradient(net, given),
            note=lambda *_: "model alone: one plain gradient", reason=REASON,
        )  # fmt: skip
