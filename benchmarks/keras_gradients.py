"""P16: integrated gradients and SmoothGrad on a Keras CNN, 32 images, 50 points each."""

from collections.abc import Iterator

import keras
import numpy as np
import tensorflow as tf
from harness import SETTLED, Case, Counter, Goal

from pellucid import explain, wrap

tf.config.threading.set_intra_op_parallelism_threads(2)
STEPS = 50
_COMPUTING = (
    "both spend their time in TensorFlow's convolutions: the bound is one compiled loop over the"
    " same gradients, in the fastest steps tried (8 to 100 rows, 1 to 4 at a time); XLA is slower"
)


def counting_layer(counter: Counter) -> keras.layers.Layer:
    """The identity, which counts the rows going through it while the counter is on."""

    def note(rows, *, forward: bool) -> np.int32:
        if counter.on and forward:
            counter.forward += int(rows)
        elif counter.on:
            counter.backward += int(rows)
        return np.int32(0)

    @tf.custom_gradient
    def counted(x):
        seen = tf.numpy_function(lambda n: note(n, forward=True), [tf.shape(x)[0]], tf.int32)

        def backward(g):
            back = tf.numpy_function(lambda n: note(n, forward=False), [tf.shape(g)[0]], tf.int32)
            with tf.control_dependencies([back]):
                return tf.identity(g)

        with tf.control_dependencies([seen]):
            return tf.identity(x), backward

    return keras.layers.Lambda(counted)


def network(counter: Counter | None) -> keras.Model:
    """The CNN, with a layer that counts or without; the weights are the same."""
    keras.utils.set_random_seed(0)
    L = keras.layers
    x = inputs = keras.Input((32, 32, 3))
    if counter is not None:
        x = counting_layer(counter)(x)
    for filters in (32, 64, 64):
        x = L.Conv2D(filters, 3, padding="same", activation="relu")(x)
        x = L.MaxPooling2D()(x)
    return keras.Model(inputs, L.Dense(10)(L.GlobalAveragePooling2D()(x)))


def relative(ours, peer) -> float:
    return float(np.abs(ours - peer).max() / np.abs(peer).max())


@tf.function
def _loop(net: keras.Model, x: tf.Tensor, classes: tf.Tensor) -> tf.Tensor:
    def step(i, total):
        points = x * (tf.cast(i, tf.float32) / STEPS)
        with tf.GradientTape() as tape:
            tape.watch(points)
            score = tf.gather(net(points), classes, axis=1, batch_dims=1)
        return i + 1, total + tape.gradient(score, points)

    start = (tf.constant(0), tf.zeros_like(x))
    return tf.while_loop(lambda i, _: i < STEPS, step, start, parallel_iterations=2)[1]


class Setting:
    """Both packages' work on one network; counted work goes to a twin that counts."""

    def __init__(self) -> None:
        self.counter = Counter()
        self.plain, self.twin = network(None), network(self.counter)
        self.twin.set_weights(self.plain.get_weights())
        self.x = np.random.default_rng(0).random((32, 32, 32, 3), dtype=np.float32)
        self.classes = np.arange(len(self.x)) % 10
        self.one_hot = np.eye(10, dtype=np.float32)[self.classes]
        self.models = {id(n): wrap(n) for n in (self.plain, self.twin)}
        self.xplique = {}

    @property
    def net(self) -> keras.Model:
        return self.twin if self.counter.on else self.plain

    def ours(self, method: str, **options) -> np.ndarray:
        model = self.models[id(self.net)]
        return explain(model, self.x, method, target=self.classes.tolist(), **options).values

    def alone(self) -> tf.Tensor:
        """The same gradients in one compiled loop over the 50 points, 32 rows at once."""
        return _loop(self.plain, tf.constant(self.x), tf.constant(self.classes))

    def by_xplique(self, name: str, **options) -> np.ndarray:
        import xplique.attributions

        key = (name, id(self.net))
        if key not in self.xplique:
            self.xplique[key] = getattr(xplique.attributions, name)(self.net, **options)
        # Channels are averaged where `reducer` is not None.
        return self.xplique[key](self.x, self.one_hot).numpy()

    def by_tf_explain_paths(self) -> np.ndarray:
        """The mean gradient times the input: tf-explain leaves the product out of its values."""
        from tf_explain.core.integrated_gradients import IntegratedGradients as Peer

        found = [
            Peer.get_integrated_gradients(
                Peer.generate_interpolations(image[None], STEPS), self.net, int(c), STEPS
            )
            for image, c in zip(self.x, self.classes, strict=True)
        ]
        return np.concatenate([np.asarray(f) for f in found]) * self.x

    def by_tf_explain_noise(self, noise: float) -> np.ndarray:
        from tf_explain.core.smoothgrad import SmoothGrad as Peer

        found = []
        for image, c in zip(self.x, self.classes, strict=True):
            noisy = Peer.generate_noisy_images(image[None], STEPS, noise)
            found.append(Peer.get_averaged_gradients(noisy, self.net, int(c), STEPS))
        return np.concatenate([np.asarray(f) for f in found])


def correlation(ours, peer) -> str:
    """Two Monte Carlo estimates of one map agree up to their noise."""
    r = np.corrcoef(ours.ravel(), np.asarray(peer).ravel())[0, 1]
    return f"independent noise: correlation of the two estimates {r:.3f}"


def p16() -> Iterator[Case]:
    """Against tf-explain and Xplique."""
    s, noise = Setting(), 0.15
    paths = "IG, 50 steps, Keras CNN 32², 32 images"
    yield Case(
        paths, "tf-explain, image by image as it does",
        lambda: s.ours("integrated_gradients", steps=STEPS), s.by_tf_explain_paths, relative,
        s.counter, goal=Goal(2.4), alone=s.alone, reason=_COMPUTING, warm_ups=SETTLED,
        note=lambda *_: "peer: mean of a left-and-right grid",
    )  # fmt: skip
    yield Case(
        paths, "Xplique, batches of 256",
        lambda: s.ours("integrated_gradients", steps=STEPS),
        lambda: s.by_xplique(
            "IntegratedGradients", steps=STEPS, batch_size=256, baseline_value=0.0, reducer=None
        ),
        relative, s.counter, goal=Goal(3), alone=s.alone, reason=_COMPUTING, warm_ups=SETTLED,
        note=lambda *_: "peer: trapezoid rule",
    )  # fmt: skip
    smooth = "SmoothGrad, 50 draws, Keras CNN 32², 32 images"
    yield Case(
        smooth, "tf-explain, image by image as it does",
        lambda: s.ours("smoothgrad", samples=STEPS, noise=noise),
        lambda: s.by_tf_explain_noise(noise), lambda *_: float("nan"), s.counter,
        goal=Goal(2), alone=s.alone, reason=_COMPUTING, warm_ups=SETTLED,
        note=lambda *_: "peer derives the cross-entropy of the outputs: values not compared",
    )  # fmt: skip
    yield Case(
        smooth, "Xplique, batches of 256",
        lambda: s.ours("smoothgrad", samples=STEPS, noise=noise),
        lambda: s.by_xplique(
            "SmoothGrad", nb_samples=STEPS, noise=noise, batch_size=256, reducer=None
        ),
        relative, s.counter, goal=Goal(2.5), alone=s.alone, reason=_COMPUTING, warm_ups=SETTLED,
        note=correlation,
    )  # fmt: skip
