"""Attention in windows, as Swin has it: refused where windows are looked at, else as by hand."""

import numpy as np
import pytest
import torch

from pellucid import explain, wrap
from pellucid.errors import CapabilityError

X = np.random.default_rng(5).normal(size=(3, 3, 32, 32)).astype(np.float32)


def swin():
    """Two stages of windows of 4 by 4: four of them on 8 by 8 patches, then one on 4 by 4."""
    transformers = pytest.importorskip(
        "transformers", reason="transformers is not installed; the extra `test` has it"
    )
    config = transformers.SwinConfig(
        image_size=32, patch_size=4, embed_dim=8, depths=[2, 2], num_heads=[2, 2], window_size=4,
        num_labels=3,
    )  # fmt: skip
    torch.manual_seed(0)
    model = transformers.SwinForImageClassification(config).eval()
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if "weight" in name and parameter.ndim > 1:
                parameter.mul_(8.0)  # drawn so small that every token would be looked at alike
    return model


def weights_by_hand(model, x: np.ndarray) -> list[torch.Tensor]:
    """What each softmax of the model returned, `(windows of all samples, heads, 16, 16)`."""
    seen = []
    softmax = torch.nn.functional.softmax

    def keep(*given, **options):
        seen.append(softmax(*given, **options))
        if seen[-1].requires_grad:
            seen[-1].retain_grad()
        return seen[-1]

    before = model.config._attn_implementation
    model.set_attn_implementation("eager")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(torch.nn.functional, "softmax", keep)
        logits = model(torch.from_numpy(x)).logits
    model.set_attn_implementation(before)
    logits[:, 1].sum().backward()
    model.zero_grad()
    return seen


@pytest.mark.parametrize(
    "method", ["attention_rollout", "attention_gradient", "attention", "attention_norm"]
)
def test_windows_are_refused_with_what_works(method):
    """All four attentions are of 16 tokens, but those of a window are not those of another."""
    options = {"at": 0} if method in {"attention", "attention_norm"} else {}
    with pytest.raises(CapabilityError, match=r"windows(.|\n)*attentions 2 and 3(.|\n)*gradcam"):
        explain(swin(), X, method, target=1, **options)


def test_the_last_stage_looks_at_its_grid():
    model = swin()
    seen = [w.detach().numpy().astype(float) for w in weights_by_hand(model, X)]
    assert [w.shape for w in seen] == [(12, 2, 16, 16)] * 2 + [(3, 2, 16, 16)] * 2
    e = explain(wrap(model), X, "attention")
    wanted = seen[-1].mean(axis=(1, 2)).reshape(3, 4, 4)  # the score reads the mean of all
    np.testing.assert_allclose(e.extras["grid"], wanted, atol=1e-5)
    assert np.ptp(wanted) > 1e-3
    assert e.values.shape == (3, 32, 32)

    reached = np.eye(16)
    for share in seen[2:]:
        reached = (share.mean(axis=1) / 2 + np.eye(16) / 2) @ reached
    e = explain(wrap(model), X, "attention_rollout", attentions=(2, 3))
    np.testing.assert_allclose(e.extras["grid"], reached.mean(axis=1).reshape(3, 4, 4), atol=1e-5)


def test_gradients_of_the_last_stage_are_those_of_its_own_weights():
    model = swin()
    relevance = np.tile(np.eye(16), (3, 1, 1))
    for weights in weights_by_hand(model, X)[2:]:
        gradient = weights.grad
        assert gradient is not None
        looked = (weights.detach() * gradient).clamp(min=0).numpy().astype(float).mean(axis=1)
        relevance = relevance + looked @ relevance
    e = explain(wrap(model), X, "attention_gradient", attentions=(2, 3), target=1)
    wanted = relevance.mean(axis=1).reshape(3, 4, 4)
    np.testing.assert_allclose(e.extras["grid"], wanted, atol=1e-5 * np.abs(wanted).max())


def test_class_activation_maps_lie_on_the_grid_of_each_stage():
    model = swin()
    for layer, grid in (("swin.encoder.layers.0.blocks.1", (8, 8)), ("swin.layernorm", (4, 4))):
        e = explain(model, X, "gradcam", layer=layer, target=1)
        assert e.values.shape == (3, 32, 32)
        assert e.parameters["grid"] == grid
