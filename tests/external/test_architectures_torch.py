"""Whole torch architectures with random weights: every method, every layer call, no failure.

Needs torchvision, and for the last tests timm and transformers: `make test-peers`.
"""

import numpy as np
import pytest
import torch
from every_method import check_every_method, unchanged

from pellucid import explain, wrap

models = pytest.importorskip(
    "torchvision.models", reason="torchvision is not installed here; `make test-peers` has it"
)
pytestmark = pytest.mark.slow

SIZE = {"googlenet": 96}  # below 96 its auxiliary heads have nothing to pool
# With the first draw of noise, all that ViT's last tokens hold for the class of one sample is
# evidence against it. Then a map that ReLU empties is the right answer, and shows nothing here.
DRAW = {"vit_b_16": 2}
BUILD = {
    "resnet18": lambda: models.resnet18(weights=None),
    "googlenet": lambda: models.googlenet(weights=None, aux_logits=True, init_weights=False),
    "densenet121": lambda: models.densenet121(weights=None),
    "mobilenet_v3_small": lambda: models.mobilenet_v3_small(weights=None),
    "efficientnet_b0": lambda: models.efficientnet_b0(weights=None),
    "convnext_tiny": lambda: models.convnext_tiny(weights=None),
    "vit_b_16": lambda: models.vit_b_16(weights=None, image_size=64),
    "swin_t": lambda: models.swin_t(weights=None),
}
IN_PATHS = {
    "resnet18": "layer4.1.conv2",
    "googlenet": "inception5b.branch4.1",
    "densenet121": "features.denseblock4.denselayer16",
    "mobilenet_v3_small": "features.12",
    "efficientnet_b0": "features.8",
    "convnext_tiny": "features.7.2.block.5",
    "vit_b_16": "encoder.layers.encoder_layer_11.mlp",
    "swin_t": "features.7.1.attn",
}


def prepared(model: torch.nn.Module, size: int) -> torch.nn.Module:
    """Batch statistics of noise, a head and layer scales that are not zero: sane activations."""
    torch.manual_seed(0)
    norms = [m for m in model.modules() if isinstance(m, torch.nn.BatchNorm2d)]
    for norm in norms:
        norm.momentum = None
    with torch.no_grad():
        model.train()(torch.randn(4, 3, size, size))
        for name, parameter in model.named_parameters():
            if name.endswith(("layer_scale", "gamma")):
                parameter.fill_(0.3)
    heads = [m for m in model.modules() if isinstance(m, torch.nn.Linear)]
    torch.nn.init.normal_(heads[-1].weight, std=0.05)
    return model.eval()


def size_of(name: str) -> int:
    return SIZE.get(name, 64)


def image(size: int, count: int = 2, draw: int = 1) -> torch.Tensor:
    return torch.randn(count, 3, size, size, generator=torch.Generator().manual_seed(draw))


def state_of(model: torch.nn.Module):
    """What no explanation may change: weights, gradients, hooks, modes, torch's random state."""

    def read() -> dict:
        found = {n: t.detach().numpy().copy() for n, t in model.state_dict().items()}
        found["random"] = torch.get_rng_state().numpy()
        for name, parameter in model.named_parameters():
            found["grad " + name] = (parameter.grad is None, parameter.requires_grad)
        for name, part in model.named_modules():
            found["part " + name] = (
                part.training, len(part._forward_hooks), len(part._forward_pre_hooks),
                len(part._backward_hooks),
            )  # fmt: skip
        return found

    return read


@pytest.fixture(scope="module", params=list(BUILD))
def case(request):
    name = request.param
    torch.manual_seed(0)
    x = image(size_of(name), draw=DRAW.get(name, 1))
    return name, prepared(BUILD[name](), size_of(name)), x


def test_every_method(case):
    name, model, x = case
    wrapped = wrap(model)
    paths = [call.path for call in wrapped.layers(x)]
    assert len(paths) > 50
    assert IN_PATHS[name] in paths, "named as torch names it"
    found = check_every_method(wrapped, x, state_of(model))
    with torch.no_grad():
        logits = model(x)
    chosen = logits.max(dim=1).values.numpy()
    for e in found.values():
        np.testing.assert_allclose(e.score, chosen, rtol=1e-4, atol=1e-5)
    grid = found["gradcam"].extras["grid"]
    assert grid.shape[0] == 2
    assert (grid.reshape(2, -1) > 0).any(axis=1).all(), "a class activation map that shows nothing"


def test_cut_at_layers_all_over_the_model(case):
    """The replay gives the run's own bits, and the same for three variants of each sample.

    Not in ViT: torch multiplies by other kernels where a weight wants no gradient, and the part
    above a cut computes with weights that want none (2e-6 of logits around 1).
    """
    name, model, x = case
    adapter = wrap(model).adapter
    x = adapter.accept(x)
    expected = adapter.run(x)
    allowed = 1e-5 if name == "vit_b_16" else 0.0
    calls = adapter.layers(x)
    for call in calls[:: len(calls) // 8]:
        cut = adapter.cut(x, call.path)
        assert torch.equal(cut.outputs, expected), call.path
        assert (cut.run(cut.value) - expected).abs().max() <= allowed, call.path
        thrice = cut.run(cut.value.repeat_interleave(3, dim=0))
        assert (thrice[::3] - expected).abs().max() <= 1e-5 * expected.abs().max(), call.path


def test_a_sample_does_not_depend_on_its_batch(case):
    _, model, x = case
    wrapped = wrap(model)
    for method in ("saliency", "gradcam"):
        both = explain(wrapped, x, method, target=3).values
        one = explain(wrapped, x[1:], method, target=3).values
        assert np.abs(both[1:] - one).max() <= 1e-4 * np.abs(one).max(), method


def test_in_training_mode_the_result_is_that_of_evaluation_mode():
    """GoogLeNet in training mode returns its auxiliary outputs, and counts batches."""
    model = prepared(BUILD["googlenet"](), 96)
    x = image(96)
    expected = explain(model, x, "saliency").values
    model.train()
    assert isinstance(model(image(96, 4)), tuple)
    model.eval()
    settled = explain(model, x, "saliency").values
    model.train()
    model.inception4a.eval()
    with unchanged(state_of(model)):
        found = explain(model, x, "saliency")
    np.testing.assert_array_equal(found.values, settled)
    assert not np.array_equal(settled, expected), "the run in training mode moved the statistics"


@pytest.mark.parametrize("wrapper", ["compile", "parallel"])
def test_wrappers(wrapper):
    model = prepared(BUILD["resnet18"](), 64)
    x = image(64)
    outer = torch.compile(model) if wrapper == "compile" else torch.nn.DataParallel(model)
    for method in ("saliency", "gradcam"):
        expected = explain(model, x, method)
        found = explain(outer, x, method)
        np.testing.assert_array_equal(found.values, expected.values)
        assert found.parameters == expected.parameters


@pytest.mark.parametrize("name", ["vit_tiny_patch16_224", "convnextv2_atto", "mixer_s32_224"])
def test_timm(name):
    timm = pytest.importorskip("timm", reason="timm is not installed; `make test-peers` has it")
    torch.manual_seed(0)
    sized = {} if name.startswith("convnext") else {"img_size": 64}
    model = prepared(timm.create_model(name, num_classes=7, **sized), 64)
    x = image(64)
    found = check_every_method(model, x, state_of(model))
    assert found["saliency"].values.shape == x.shape


def test_transformers_vit_returns_an_output_object():
    transformers = pytest.importorskip(
        "transformers", reason="transformers is not installed; `make test-peers` has it"
    )
    config = transformers.ViTConfig(
        hidden_size=32, num_hidden_layers=2, num_attention_heads=2, intermediate_size=64,
        image_size=32, patch_size=8, num_labels=5,
    )  # fmt: skip
    torch.manual_seed(0)
    model = transformers.ViTForImageClassification(config).eval()
    torch.nn.init.normal_(model.classifier.weight, std=0.5)
    x = image(32)
    with torch.no_grad():
        logits = model(x).logits.numpy()
    found = check_every_method(model, x, state_of(model))
    for e in found.values():
        np.testing.assert_allclose(e.score, logits.max(axis=1), rtol=1e-4)


def test_transformers_bert_with_a_dict_of_integers():
    transformers = pytest.importorskip(
        "transformers", reason="transformers is not installed; `make test-peers` has it"
    )
    config = transformers.BertConfig(
        vocab_size=50, hidden_size=32, num_hidden_layers=2, num_attention_heads=2,
        intermediate_size=64, num_labels=3,
    )  # fmt: skip
    torch.manual_seed(0)
    model = transformers.BertForSequenceClassification(config).eval()
    torch.nn.init.normal_(model.classifier.weight, std=0.5)
    words = torch.randint(1, 50, (2, 9), generator=torch.Generator().manual_seed(1))
    x = {"input_ids": words, "attention_mask": torch.ones_like(words)}
    with unchanged(state_of(model)):
        e = explain(model, x, "occlusion", window=1)
    with torch.no_grad():
        logits = model(**x).logits.numpy()
    np.testing.assert_allclose(e.score, logits.max(axis=1), rtol=1e-4)
    moved = words.clone()
    moved[:, 2] = 0  # the baseline of whole numbers
    with torch.no_grad():
        without = model(moved, attention_mask=torch.ones_like(words)).logits.numpy()
    rows = np.arange(2)
    target = logits.argmax(axis=1)
    expected = logits[rows, target] - without[rows, target]
    np.testing.assert_allclose(e.parts[0].values[:, 2], expected, atol=1e-5)
