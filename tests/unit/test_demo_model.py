import subprocess
import sys
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from pellucid.demo.model import demo_model
from pellucid.demo.photos import demo_photos, load_photo
from pellucid.demo.weights import (
    ASSETS,
    imagenet_class_names,
    mobilenet_layers,
    preprocess,
)
from pellucid.inputs.image import read_image

PHOTOS = demo_photos()


@pytest.fixture(scope="module")
def batch():
    """The photos as the network wants them, `(8, 224, 224, 3)`."""
    return preprocess(np.stack([load_photo(photo.path) for photo in PHOTOS]))


@pytest.fixture(scope="module")
def keras_model():
    return demo_model().model


@pytest.fixture(scope="module")
def torch_model():
    from pellucid.testing.mobilenet_torch import build_mobilenet

    return build_mobilenet()


def keras_probabilities(model, batch):
    return np.asarray(model(batch, training=False))


def torch_probabilities(model, batch):
    import torch

    with torch.no_grad():
        return model(torch.from_numpy(batch.transpose(0, 3, 1, 2).copy())).numpy()


def keras_logits(model, batch):
    import keras

    head = model.get_layer("predictions")
    pooled = np.asarray(keras.Model(model.input, head.input)(batch, training=False))
    kernel, bias = (weight.value.numpy() for weight in head.weights)
    return pooled @ kernel + bias


def torch_logits(model, batch):
    import torch

    with torch.no_grad():
        x = torch.from_numpy(batch.transpose(0, 3, 1, 2).copy())
        return model.classifier[0](model.features(x).mean(dim=(2, 3))).numpy()


def assert_right_first_guess(probabilities):
    assert probabilities.shape == (len(PHOTOS), 1000)
    np.testing.assert_allclose(probabilities.sum(axis=1), 1.0, rtol=1e-5)
    for photo, row in zip(PHOTOS, probabilities, strict=True):
        assert row.argmax() == photo.class_index, photo.name
        assert row.max() > 0.7, photo.name


def test_keras_knows_every_photo(keras_model, batch):
    assert_right_first_guess(keras_probabilities(keras_model, batch))


def test_torch_knows_every_photo(torch_model, batch):
    assert_right_first_guess(torch_probabilities(torch_model, batch))


def test_keras_and_torch_agree(keras_model, torch_model, batch):
    expected = keras_logits(keras_model, batch)
    difference = np.abs(torch_logits(torch_model, batch) - expected).max()
    assert difference < 1e-5 * np.abs(expected).max()


def test_torch_pads_like_tensorflow_at_odd_sizes(torch_model):
    import tensorflow as tf
    import torch

    first = torch_model.features[0][0]
    x = np.random.default_rng(0).normal(size=(1, 17, 22, 3)).astype(np.float32)
    kernel = first.weight.detach().numpy().transpose(2, 3, 1, 0)
    expected = tf.nn.conv2d(x, kernel, 2, "SAME") + first.bias.detach().numpy()
    with torch.no_grad():
        found = first(torch.from_numpy(x.transpose(0, 3, 1, 2).copy())).numpy()
    np.testing.assert_allclose(found.transpose(0, 2, 3, 1), expected, rtol=0, atol=1e-5)


def test_torch_model_is_in_inference_mode_and_named_like_torchvision(torch_model):
    assert not any(module.training for module in torch_model.modules())
    names = dict(torch_model.named_modules())
    assert {"features.0.0", "features.18.0", "classifier"} <= set(names)
    assert len(torch_model.features) == 19
    assert sum(p.numel() for p in torch_model.parameters()) == 3_487_816


def test_weights_are_the_folded_network():
    layers = mobilenet_layers()
    assert len(layers) == 53
    assert sum(layer.depthwise for layer in layers) == 17
    assert layers[0].kernel.shape == (3, 3, 3, 32)
    assert layers[1].kernel.shape == (3, 3, 32, 1)
    assert layers[-1].kernel.shape == (1, 1, 1280, 1000)
    assert all(layer.kernel.dtype == layer.bias.dtype == np.float32 for layer in layers)


def test_class_names_are_kept_with_their_duplicate():
    names = imagenet_class_names()
    assert len(names) == 1000
    assert (names[0], names[999]) == (
        "tench, Tinca tinca",
        "toilet tissue, toilet paper, bathroom tissue",
    )
    twice = {name for name, count in Counter(names).items() if count > 1}
    assert twice == {"crane"}


def test_preprocess():
    images = np.array([[[[0, 127, 255]]]], np.uint8)
    found = preprocess(images)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, [[[[-1.0, 127 / 127.5 - 1, 1.0]]]], atol=1e-7)


@pytest.mark.parametrize("photo", PHOTOS, ids=lambda photo: photo.name)
def test_photos_are_small_plain_and_attributed(photo):
    from PIL import Image

    image = read_image(photo.path)
    assert max(image.shape[:2]) <= 448
    assert min(image.shape[:2]) >= 224
    assert load_photo(photo.path, 96).shape == (96, 96, 3)
    with Image.open(photo.path) as opened:
        assert not opened.getexif()
    assert photo.class_name == imagenet_class_names()[photo.class_index]
    notice = (photo.path.parent / "SOURCE.md").read_text("utf-8")
    assert photo.path.name in notice
    assert photo.attribution.split(" ")[0] in notice
    assert {"Apache-2.0": "Apache-2.0", "CC BY 2.0": "by/2.0"}[photo.licence] in notice


def test_assets_are_complete_licensed_and_light():
    root = Path(str(ASSETS))
    files = [path for path in root.rglob("*") if path.is_file()]
    assert sum(path.stat().st_size for path in files) < 8_000_000
    for path in files:
        assert (path.parent / "SOURCE.md").is_file()
    shipped = {path for path in files if path.suffix == ".jpg"}
    assert shipped == {photo.path for photo in PHOTOS}


def test_building_the_network_opens_no_connection():
    code = (
        "import socket\n"
        "def refuse(*args, **kwargs): raise RuntimeError('network')\n"
        "socket.socket.connect = socket.getaddrinfo = refuse\n"
        "from pellucid.demo.model import demo_model\n"
        "model, names, preprocess = demo_model()\n"
        "print(model.output_shape, len(names))"
    )
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert out.stdout.strip() == "(None, 1000) 1000"


def test_listing_photos_loads_no_framework():
    code = (
        "import sys; from pellucid.demo.photos import demo_photos; demo_photos()\n"
        "import pellucid.demo.model\n"
        "print([m for m in ('torch', 'tensorflow', 'keras', 'jax') if m in sys.modules])"
    )
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert out.stdout.strip() == "[]"
