"""`make bench`: ratios to peers, printed and written to RESULTS.md.

Same evaluations on both sides. The workloads P1 to P16 of the performance plan come with the
rooms they measure; here stand those of gradients, Grad-CAM and occlusion.
"""

import platform
import sys
import warnings
from importlib.metadata import version
from pathlib import Path

import numpy as np
import torch
from harness import compare, load

from pellucid import explain, wrap
from pellucid.demo import demo_model, demo_photos, load_photo
from pellucid.demo.weights import preprocess
from pellucid.testing.mobilenet_torch import build_mobilenet

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    from captum.attr import IntegratedGradients, LayerGradCam, Occlusion, Saliency

torch.set_num_threads(2)


def relative(a, b) -> float:
    a, b = np.asarray(a), np.asarray(b)
    return float(np.abs(a - b).max() / np.abs(b).max())


def torch_rows():
    x = np.stack([load_photo(p.path) for p in demo_photos()])
    x = torch.from_numpy(np.moveaxis(preprocess(x), -1, 1).copy())
    network = build_mobilenet().eval()
    logits = build_mobilenet().eval()
    logits.classifier[1] = torch.nn.Identity()
    target = logits(x).argmax(1)
    model = wrap(network)
    e = {}

    def ours(name, **options):
        def work():
            e[name] = explain(model, x, name, target=target.tolist(), **options)

        return work

    found = {}

    def peer(name, work):
        def run():
            found[name] = work()

        return run

    yield compare(
        "saliency, MobileNetV2 224², 8 photos", "captum",
        ours("saliency"),
        peer("saliency", lambda: Saliency(logits).attribute(
            x.clone().requires_grad_(), target, abs=False)),
        lambda: relative(e["saliency"].values, found["saliency"].detach()),
    )  # fmt: skip
    layer = logits.features
    yield compare(
        "Grad-CAM, MobileNetV2 224², 8 photos", "captum",
        ours("gradcam", layer="features"),
        peer("gradcam", lambda: LayerGradCam(logits, layer).attribute(
            x, target, relu_attributions=True)),
        lambda: relative(e["gradcam"].extras["grid"][:, None], found["gradcam"].detach()),
    )  # fmt: skip
    yield compare(
        "integrated gradients n = 8, MobileNetV2 224², 8 photos", "captum, internal batch 8",
        ours("integrated_gradients", steps=8),
        peer("ig", lambda: IntegratedGradients(logits).attribute(
            x, target=target, n_steps=8, method="gausslegendre", internal_batch_size=8)),
        lambda: relative(e["integrated_gradients"].values, found["ig"].detach()),
        runs=3,
    )  # fmt: skip
    yield compare(
        "occlusion, 49 windows, MobileNetV2 224², 8 photos", "captum, 4 windows at once",
        ours("occlusion", window=32, stride=32),
        peer("occlusion", lambda: Occlusion(logits).attribute(
            x, (3, 32, 32), (3, 32, 32), target=target, perturbations_per_eval=4)),
        lambda: relative(e["occlusion"].values, found["occlusion"].detach()),
        runs=3,
    )  # fmt: skip


def keras_rows():
    import keras
    import tensorflow as tf

    network, _, prepare = demo_model()
    x = prepare(np.stack([load_photo(p.path) for p in demo_photos()]))
    last = network.layers[-1]
    sub_model = keras.Model(network.input, [network.get_layer("out_relu").output, last.output])
    target = network(x).numpy().argmax(1)
    model, e, found = wrap(network), {}, {}

    def ours():
        e["gradcam"] = explain(model, x, "gradcam", target=target.tolist())

    def textbook():
        with tf.GradientTape() as tape:
            activation, output = sub_model(x)
            tape.watch(activation)
            score = tf.gather(tf.math.log(output + 0.0), target, batch_dims=1)
        gradient = tape.gradient(score, activation)
        weight = tf.reduce_mean(gradient, axis=(1, 2), keepdims=True)
        found["gradcam"] = tf.nn.relu(tf.reduce_sum(weight * activation, -1)).numpy()

    # The textbook form explains the log-probability; the maps differ by the softmax's own part.
    yield compare(
        "Grad-CAM, Keras MobileNetV2 224², 8 photos", "sub-model and eager tape (textbook form)",
        ours, textbook, lambda: float("nan"),
    )  # fmt: skip


def main() -> None:
    lines = [
        "| workload | peer | ours, s | peer, s | peer ÷ ours [min..max] | largest difference |",
        "|---|---|---|---|---|---|",
    ]
    print("\n".join(lines))
    for rows in (torch_rows, keras_rows):
        for ratio in rows():
            lines.append(ratio.row())
            print(lines[-1], flush=True)
    packages = ("pellucid", "torch", "captum", "tensorflow", "keras", "numpy")
    versions = ", ".join(f"{p} {version(p)}" for p in packages)
    text = "\n".join(
        [
            "# Benchmarks",
            "",
            f"Python {platform.python_version()}, {versions}; {load()}.",
            "Same evaluations, float32, interleaved runs; 'largest difference' is of the maps,",
            "in units of the maximum.",
            "",
            *lines,
            "",
        ]
    )
    Path(__file__).with_name("RESULTS.md").write_text(text)
    print(load(), file=sys.stderr)


if __name__ == "__main__":
    main()
