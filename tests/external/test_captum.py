"""Captum as an outside oracle: where definitions agree, so do the numbers, to 1e-4."""

import warnings

import numpy as np
import pytest
import torch

from pellucid import explain
from pellucid.testing import build
from pellucid.testing.mobilenet_torch import build_mobilenet

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # Captum's own imports; nothing of ours
    from captum.attr import (
        GradientShap,
        InputXGradient,
        IntegratedGradients,
        LayerAttribution,
        LayerGradCam,
        LayerGradientXActivation,
        LayerIntegratedGradients,
        NoiseTunnel,
        Occlusion,
        Saliency,
    )

pytestmark = pytest.mark.slow
OF_MAXIMUM = 1e-4


def small(name: str):
    model, x = build(name, "torch")
    return model.eval(), torch.from_numpy(x)


def mobilenet():
    from pellucid.demo import demo_photos, load_photo
    from pellucid.demo.weights import preprocess

    photo = preprocess(load_photo(demo_photos()[0].path))
    x = torch.from_numpy(np.moveaxis(photo, -1, 0).copy())[None]
    logits = build_mobilenet().eval()
    # Captum explains what it is given, so it is given the network without its softmax.
    logits.classifier[1] = torch.nn.Identity()
    return logits, x


MODELS = {
    "dense": lambda: small("dense"),
    "cnn": lambda: small("cnn"),
    "residual": lambda: small("residual"),
    "depthwise": lambda: small("depthwise"),
    "mobilenet": mobilenet,
}


def close(found: np.ndarray, expected: torch.Tensor) -> None:
    oracle = expected.detach().numpy()
    assert found.shape == oracle.shape
    assert np.abs(found - oracle).max() < OF_MAXIMUM * np.abs(oracle).max()


@pytest.fixture(params=list(MODELS))
def case(request):
    model, x = MODELS[request.param]()
    with torch.no_grad():
        target = model(x).argmax(1)
    return request.param, model, x, target


def test_saliency(case):
    _, model, x, target = case
    oracle = Saliency(model).attribute(x.clone().requires_grad_(), target, abs=False)
    close(explain(model, x, "saliency").values, oracle)
    oracle = Saliency(model).attribute(x.clone().requires_grad_(), target)
    close(explain(model, x, "saliency", absolute=True).values, oracle)


def test_gradient_x_input(case):
    _, model, x, target = case
    oracle = InputXGradient(model).attribute(x.clone().requires_grad_(), target)
    close(explain(model, x, "gradient_x_input").values, oracle)


@pytest.mark.parametrize("baseline", [0.0, 0.3])
def test_integrated_gradients(case, baseline):
    name, model, x, target = case
    steps = 8 if name == "mobilenet" else 33
    oracle, delta = IntegratedGradients(model).attribute(
        x, torch.full_like(x, baseline), target, n_steps=steps, method="gausslegendre",
        return_convergence_delta=True,
    )  # fmt: skip
    e = explain(model, x, "integrated_gradients", steps=steps, baseline=baseline)
    close(e.values, oracle)
    error = e.gap * np.abs(e.score - e.baseline_score)
    np.testing.assert_allclose(error, np.abs(delta.numpy()), atol=1e-4 * np.abs(e.score).max())


def test_gradcam(case):
    name, model, x, target = case
    layers = {"cnn": "conv2", "residual": "conv2", "depthwise": "pointwise"}
    if name == "dense":
        pytest.skip("a dense network has no feature map")
    path = layers.get(name) or explain(model, x, "gradcam").parameters["layer"]
    oracle = LayerGradCam(model, model.get_submodule(path)).attribute(
        x, target, relu_attributions=True
    )
    e = explain(model, x, "gradcam", layer=path)
    close(e.extras["grid"][:, None], oracle)
    enlarged = LayerAttribution.interpolate(oracle, x.shape[2:], interpolate_mode="bilinear")
    close(e.values[:, None], enlarged)
    signed = LayerGradCam(model, model.get_submodule(path)).attribute(x, target)
    close(explain(model, x, "gradcam", layer=path, relu=False).extras["grid"][:, None], signed)


def test_occlusion(case):
    name, model, x, target = case
    if name == "dense":
        window, stride, ours = (1,), (1,), {}
    else:
        # Strides that divide the border: Captum cuts its last window off, ours is flush.
        side, step = (32, 32) if name == "mobilenet" else (4, 2)
        window, stride = (x.shape[1], side, side), (x.shape[1], step, step)
        ours = {"window": side, "stride": step}
    oracle = Occlusion(model).attribute(
        x, window, stride, baselines=0.1, target=target, perturbations_per_eval=8
    )
    close(explain(model, x, "occlusion", baseline=0.1, **ours).values, oracle)


LAYERS = {"cnn": "conv2", "depthwise": "pointwise"}


@pytest.mark.parametrize("name", list(LAYERS))
def test_layers(name):
    """Without a way round the layer, where Captum's reference score is f(x') as ours is."""
    model, x = small(name)
    layer = model.get_submodule(LAYERS[name])
    for module in model.modules():
        if isinstance(module, torch.nn.ReLU):
            module.inplace = False  # Captum makes a leaf of the layer's output
    with torch.no_grad():
        target = model(x).argmax(1)
    oracle = LayerGradientXActivation(model, layer).attribute(x, target)
    close(explain(model, x, "gradient_x_input", layer=LAYERS[name]).values, oracle)
    oracle = LayerIntegratedGradients(model, layer).attribute(
        x, torch.zeros_like(x), target, n_steps=20, method="gausslegendre"
    )
    e = explain(model, x, "integrated_gradients", layer=LAYERS[name], steps=20)
    close(e.values, oracle)


@pytest.mark.parametrize(
    ("method", "kind"),
    [("smoothgrad", "smoothgrad"), ("squaregrad", "smoothgrad_sq"), ("vargrad", "vargrad")],
)
def test_noise_tunnel(method, kind):
    """Captum draws for itself: within the standard errors. Its variance is over m, ours m − 1."""
    model, x = small("dense")
    x, m = x[:1], 2000
    torch.manual_seed(0)
    oracle = NoiseTunnel(Saliency(model)).attribute(
        x, nt_type=kind, nt_samples=m, nt_samples_batch_size=200,
        stdevs=0.15 * float(x.max() - x.min()), target=1, abs=False,
    ).detach().numpy()  # fmt: skip
    e = explain(model, x, method, samples=m, noise=0.15, target=1)
    factor = (m - 1) / m if method == "vargrad" else 1
    error = np.abs(e.values * factor - oracle)
    assert (error <= 5 * np.sqrt(2) * e.stderr + 1e-6).all()


def test_gradient_shap():
    """Captum draws independently, and ours is stratified: within Captum's larger error."""
    model, x = small("dense")
    background = x[1:] * 0.7
    options = {"n_samples": 500, "stdevs": 0.0, "target": 1}
    torch.manual_seed(0)
    draws = [
        GradientShap(model).attribute(x[:1], background, **options).detach().numpy()
        for _ in range(8)
    ]
    e = explain(model, x[:1], "expected_gradients", background=background, samples=400, target=1)
    error = np.abs(np.mean(draws, axis=0) - e.values)
    allowed = 5 * np.sqrt(np.var(draws, axis=0, ddof=1) / 8 + e.stderr**2)
    assert (error <= allowed + 1e-6).all()
