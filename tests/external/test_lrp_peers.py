"""zennit and Captum as outside oracles of LRP's rules and composites, and of excitation backprop.

Where the definitions agree the numbers do, to 1e-4 of the map's maximum. The peers' ε is a number,
so ours is `absolute` here. Where the definitions differ, both are pinned: zennit counts squared
biases under w² unless told not to, and leaves a batch normalisation alone unless told to merge it;
Captum's γ and α1β0 know no signs of inputs, and leave biases as they are.
"""

import warnings

import numpy as np
import pytest
import torch
from torch import nn

from pellucid import explain
from pellucid.testing import build
from pellucid.testing.oracles_lrp import relevance

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # the peers' own imports; nothing of ours
    from captum.attr import LRP
    from captum.attr._utils.lrp_rules import Alpha1_Beta0_Rule, EpsilonRule, GammaRule

    try:
        from zennit import composites, rules
        from zennit.attribution import Gradient
        from zennit.canonizers import SequentialMergeBatchNorm
        from zennit.types import Activation, AvgPool, Linear
    except ImportError:
        rules = None

needs_zennit = pytest.mark.skipif(
    rules is None, reason="zennit comes with torchvision, which `make test-peers` installs"
)
pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore")]
OF_MAXIMUM = 1e-4
EPSILON = 1e-9
"""zennit puts it under sums and average pools too, which ours lets keep all of their relevance."""
LOW, HIGH = -4.0, 5.0
DRAWS = np.random.default_rng(0)
X = DRAWS.normal(size=(4, 3, 12, 12)).clip(LOW, HIGH).astype(np.float32)


class Network(nn.Module):
    """Modules only, each used once; but for the flattening, which Captum has no rule for."""

    def __init__(self, *body: nn.Module, head: list[nn.Module]) -> None:
        super().__init__()
        self.body, self.head = nn.Sequential(*body), nn.Sequential(*head)

    def forward(self, x):
        return self.head(self.body(x).flatten(1))


def cnn(*, norm: bool = False) -> Network:
    """Biases and, with `norm`, scales of both signs."""
    torch.manual_seed(0)

    def block(i: int, o: int, **options) -> list[nn.Module]:
        return [nn.Conv2d(i, o, 3, **options), *([nn.BatchNorm2d(o)] if norm else []), nn.ReLU()]

    net = Network(
        *block(3, 6, padding=1), nn.MaxPool2d(2), *block(6, 8), nn.MaxPool2d(2),
        head=[nn.Linear(32, 10), nn.ReLU(), nn.Linear(10, 3)],
    ).eval()  # fmt: skip
    draws = torch.Generator().manual_seed(1)
    for module in net.modules():
        if isinstance(module, nn.BatchNorm2d):
            for part in (module.weight.data, module.bias.data, module.running_mean):
                part.normal_(generator=draws)
            module.running_var.uniform_(0.5, 2.0, generator=draws)
        elif isinstance(module, (nn.Conv2d, nn.Linear)):
            module.bias.data.normal_(std=0.3, generator=draws)
    return net


def pooled() -> Network:
    """Average pools, dilation, groups, stride and a tanh."""
    torch.manual_seed(2)
    return Network(
        nn.Conv2d(3, 6, 3, groups=3, padding=1), nn.ReLU(), nn.AvgPool2d(2),
        nn.Conv2d(6, 8, 3, dilation=2, stride=2, padding=1), nn.ReLU(), nn.AdaptiveAvgPool2d(1),
        head=[nn.Linear(8, 6), nn.Tanh(), nn.Linear(6, 3)],
    ).eval()  # fmt: skip


def mlp() -> Network:
    torch.manual_seed(3)
    return Network(
        nn.Dropout(),
        head=[nn.Linear(432, 20), nn.ReLU(), nn.Linear(20, 8), nn.ReLU(), nn.Linear(8, 3)],
    ).eval()


NETWORKS = {"cnn": cnn, "pooled": pooled, "mlp": mlp}


def by_zennit(net: nn.Module, composite, x: np.ndarray = X, target: int = 1) -> np.ndarray:
    """Relevance of the target's score, which is zennit's start where it is given as a function."""

    def start(output):
        return output * nn.functional.one_hot(torch.tensor([target]), output.shape[1])

    with Gradient(net, composite) as attributor:
        return attributor(torch.from_numpy(x), start)[1].detach().numpy()


def by_captum(net: nn.Module, rule, of=(nn.Conv2d, nn.Linear), x: np.ndarray = X) -> np.ndarray:
    for module in net.modules():
        if isinstance(module, of):
            module.rule = rule()
    return LRP(net).attribute(torch.from_numpy(x), target=1).detach().numpy()


def ours(net: nn.Module, composite, x: np.ndarray = X, **options) -> np.ndarray:
    options = {"epsilon": EPSILON, "absolute": True, "target": 1} | options
    return explain(net, x, "lrp", composite=composite, **options).values


def off(found: np.ndarray, oracle: np.ndarray) -> float:
    assert found.shape == oracle.shape
    assert np.abs(oracle).max() > 1e-4, "a map of nothing shows nothing"
    return float(np.abs(found - oracle).max() / np.abs(oracle).max())


RULES = {
    "epsilon": lambda: rules.Epsilon(EPSILON),
    "epsilon:0.1": lambda: rules.Epsilon(epsilon=0.1),
    "gamma:0.25": lambda: rules.Gamma(gamma=0.25, stabilizer=EPSILON),
    "gamma:2": lambda: rules.Gamma(gamma=2.0, stabilizer=EPSILON),
    "alpha_beta:2,1": lambda: rules.AlphaBeta(alpha=2.0, beta=1.0, stabilizer=EPSILON),
    "alpha_beta:1,0": lambda: rules.AlphaBeta(alpha=1.0, beta=0.0, stabilizer=EPSILON),
    "z_plus": lambda: rules.ZPlus(EPSILON),
    "z_plus:0": lambda: rules.ZPlus(zero_params="bias", stabilizer=EPSILON),
    "flat": lambda: rules.Flat(EPSILON),
    "w_square": lambda: rules.WSquare(zero_params="bias", stabilizer=EPSILON),
    "box": lambda: rules.ZBox(low=LOW, high=HIGH, stabilizer=EPSILON),
}
FIRST = ("flat", "w_square", "box")
"""Rules of a first layer: in the middle only `mlp` has no windows of zeros."""


def around() -> list:
    return [(Activation, rules.Pass()), (AvgPool, rules.Norm(EPSILON))]


@needs_zennit
@pytest.mark.parametrize("name", NETWORKS)
@pytest.mark.parametrize("rule", RULES)
def test_rules_are_those_of_zennit(rule, name):
    if rule in FIRST:
        own = {"first": rule, "linear": "epsilon"}
        composite = composites.SpecialFirstLayerMapComposite(
            [*around(), (Linear, rules.Epsilon(EPSILON))], [(Linear, RULES[rule]())]
        )
    else:
        own, composite = (
            {"linear": rule},
            composites.LayerMapComposite([*around(), (Linear, RULES[rule]())]),
        )
    found = ours(NETWORKS[name](), own, low=LOW, high=HIGH)
    assert off(found, by_zennit(NETWORKS[name](), composite)) < OF_MAXIMUM


@needs_zennit
@pytest.mark.parametrize("rule", ["flat", "w_square"])
def test_rules_that_reach_zeros_do_so_everywhere_as_in_zennit(rule):
    composite = composites.LayerMapComposite([*around(), (Linear, RULES[rule]())])
    assert off(ours(mlp(), {"linear": rule}), by_zennit(mlp(), composite)) < OF_MAXIMUM


COMPOSITES = {
    "epsilon_plus": lambda **o: composites.EpsilonPlus(EPSILON, EPSILON, **o),
    "epsilon_plus_flat": lambda **o: composites.EpsilonPlusFlat(EPSILON, EPSILON, **o),
    "epsilon_alpha2_beta1": lambda **o: composites.EpsilonAlpha2Beta1(EPSILON, EPSILON, **o),
    "epsilon_alpha2_beta1_flat": lambda **o: composites.EpsilonAlpha2Beta1Flat(
        EPSILON, EPSILON, **o
    ),
    "epsilon_gamma_box": lambda **o: composites.EpsilonGammaBox(
        LOW, HIGH, EPSILON, stabilizer=EPSILON, **o
    ),
}


@needs_zennit
@pytest.mark.parametrize("name", ["cnn", "pooled"])
@pytest.mark.parametrize("preset", COMPOSITES)
def test_composites_are_those_of_zennit(preset, name):
    found = ours(NETWORKS[name](), preset, low=LOW, high=HIGH)
    assert off(found, by_zennit(NETWORKS[name](), COMPOSITES[preset]())) < OF_MAXIMUM


@needs_zennit
@pytest.mark.parametrize("preset", COMPOSITES)
def test_a_batch_normalisation_is_merged_as_by_zennit_s_canonizer(preset):
    found = ours(cnn(norm=True), preset, low=LOW, high=HIGH)
    merged = COMPOSITES[preset](canonizers=[SequentialMergeBatchNorm()])
    assert off(found, by_zennit(cnn(norm=True), merged)) < OF_MAXIMUM


@needs_zennit
def test_a_batch_normalisation_by_itself_is_another_definition():
    found = ours(cnn(norm=True), "epsilon_plus")
    assert off(found, by_zennit(cnn(norm=True), composites.EpsilonPlus())) > 0.01


@needs_zennit
def test_zennit_squares_biases_too():
    """Montavon et al. 2017, eq. 12, divide by the weights alone, as ours do: all of R is kept."""
    composite = composites.SpecialFirstLayerMapComposite(
        [*around(), (Linear, rules.Epsilon(EPSILON))], [(Linear, rules.WSquare(EPSILON))]
    )
    found, other = ours(cnn(), {"first": "w_square"}), by_zennit(cnn(), composite)
    first = cnn().body[0]
    squares = (first.weight**2).sum((1, 2, 3))
    kept = (squares / (squares + first.bias**2)).detach().numpy()
    share = other.sum() / found.sum()
    assert off(found, other) > 1e-3
    assert kept.min() < share < 1


@needs_zennit
@pytest.mark.parametrize("name", ["cnn", "mlp"])  # zennit's takes the derivative of a tanh
def test_excitation_backprop_is_zennit_s_without_biases(name):
    x = np.abs(X)
    e = explain(NETWORKS[name](), x, "excitation_backprop", contrastive=False, target=1)
    oracle = by_zennit(
        NETWORKS[name](), composites.ExcitationBackprop(EPSILON, zero_params="bias"), x
    )
    score = NETWORKS[name]()(torch.from_numpy(x))[:, 1].detach().numpy()
    assert off(e.values * score[:, None, None, None], oracle) < OF_MAXIMUM


@needs_zennit
@pytest.mark.parametrize("method", ["guided_backprop", "deconvnet"])
def test_gates_are_those_of_zennit(method):
    composite = {
        "guided_backprop": composites.GuidedBackprop, "deconvnet": composites.DeconvNet,
    }[method]()  # fmt: skip
    with Gradient(cnn(), composite) as attributor:
        start = nn.functional.one_hot(torch.ones(len(X), dtype=torch.long), 3).float()
        oracle = attributor(torch.from_numpy(X), start)[1].numpy()
    assert off(explain(cnn(), X, method, target=1).values, oracle) < OF_MAXIMUM


def resnet18() -> nn.Module:
    models = pytest.importorskip("torchvision.models", reason="`make test-peers` installs it")
    torch.manual_seed(0)
    net = models.resnet18(weights=None, num_classes=7).eval()
    draws = torch.Generator().manual_seed(1)
    for module in net.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.eps = 1e-12  # which zennit divides by once more: 5e-5 of the score at 1e-5
            module.running_mean.normal_(std=0.3, generator=draws)
            module.running_var.uniform_(0.5, 2.0, generator=draws)
            module.bias.data.normal_(std=0.3, generator=draws)
    return net


@needs_zennit
@pytest.mark.parametrize("preset", COMPOSITES)
def test_resnet18_s_composites_are_those_of_zennit(preset):
    """Residual sums, strided and in-line ReLUs, and 20 batch normalisations."""
    from zennit.torchvision import ResNetCanonizer

    x = np.random.default_rng(1).normal(size=(2, 3, 64, 64)).clip(LOW, HIGH).astype(np.float32)
    # A denominator near zero is where single precision loses digits: both in double.
    merged = COMPOSITES[preset](canonizers=[ResNetCanonizer()])
    oracle = by_zennit(resnet18().double(), merged, x.astype(np.float64))
    found = ours(resnet18().double(), preset, x, low=LOW, high=HIGH)
    assert off(found, oracle) < OF_MAXIMUM


@pytest.mark.parametrize("name", NETWORKS)
@pytest.mark.parametrize("epsilon", [1e-9, 0.1])
def test_epsilon_is_captum_s(epsilon, name):
    oracle = by_captum(NETWORKS[name](), lambda: EpsilonRule(epsilon))
    found = ours(NETWORKS[name](), {"linear": "epsilon"}, epsilon=epsilon)
    assert off(found, oracle) < OF_MAXIMUM


def test_epsilon_over_batch_normalisations_is_captum_s():
    oracle = by_captum(cnn(norm=True), lambda: EpsilonRule(EPSILON))
    assert off(ours(cnn(norm=True), {"linear": "epsilon"}), oracle) < OF_MAXIMUM


WITHOUT_SIGNS = {
    "gamma:0.25": lambda **o: GammaRule(0.25, **o), "z_plus:0": lambda **o: Alpha1_Beta0_Rule(**o),
}  # fmt: skip


def no_biases(net: Network) -> Network:
    for module in net.modules():
        if isinstance(module, nn.Conv2d):
            module.bias.data.zero_()
    return net


@pytest.mark.parametrize("rule", WITHOUT_SIGNS)
def test_captum_s_gamma_and_alpha1_beta0_where_inputs_and_biases_have_no_signs(rule):
    x, own = np.abs(X), {"convolution": rule, "dense": "epsilon"}
    oracle = by_captum(no_biases(cnn()), WITHOUT_SIGNS[rule], nn.Conv2d, x)
    assert off(ours(no_biases(cnn()), own, x), oracle) < OF_MAXIMUM


@pytest.mark.parametrize("rule", WITHOUT_SIGNS)
def test_captum_knows_no_signs_of_inputs(rule):
    """z⁺ shares out what is positive, x w > 0; Captum's also has negative inputs times w > 0."""
    oracle = by_captum(no_biases(cnn()), WITHOUT_SIGNS[rule], nn.Conv2d)
    found = ours(no_biases(cnn()), {"convolution": rule, "dense": "epsilon"})
    assert off(found, oracle) > 0.01


@needs_zennit
def test_a_functional_mean_is_invisible_to_zennit_and_not_to_us():
    """A mean's relevance goes where its sum came from; the plain gradient spreads it evenly."""
    model, x = build("cnn_functional", "torch")
    target = model(torch.from_numpy(x)).argmax(1)
    (truth,) = relevance(
        "cnn_functional", [np.moveaxis(x, 1, -1)], target.numpy(), {"linear": "epsilon"}
    )
    truth = np.moveaxis(truth, -1, 1)
    found = explain(model, x, "lrp", composite="epsilon").values
    composite = composites.LayerMapComposite([*around(), (Linear, rules.Epsilon(EPSILON))])
    with Gradient(model, composite) as attributor:
        hot = nn.functional.one_hot(target, model(torch.from_numpy(x)).shape[1])
        peer = attributor(torch.from_numpy(x), lambda output: output * hot)[1].detach().numpy()
    assert off(found, truth) < OF_MAXIMUM
    assert off(peer, truth) > 0.5


class Functional(nn.Module):
    """As `Modules`, with the mean as a call."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(4)
        self.convolution, self.relu, self.head = nn.Conv2d(3, 6, 3), nn.ReLU(), nn.Linear(6, 3)

    def forward(self, x):
        return self.head(self.relu(self.convolution(x)).mean((2, 3)))


class Modules(Functional):
    def __init__(self) -> None:
        super().__init__()
        self.mean = nn.AdaptiveAvgPool2d(1)

    def forward(self, x):
        return self.head(self.mean(self.relu(self.convolution(x))).flatten(1))


def test_a_functional_mean_is_invisible_to_captum_s_lrp_too():
    """Written as a module, which is the same network, Captum is right."""
    truth = by_captum(Modules(), lambda: EpsilonRule(EPSILON))
    assert off(ours(Modules(), "epsilon"), truth) < OF_MAXIMUM
    assert off(ours(Functional(), "epsilon"), truth) < OF_MAXIMUM
    assert off(by_captum(Functional(), lambda: EpsilonRule(EPSILON)), truth) > 0.1
