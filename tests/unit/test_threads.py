"""Eight threads that explain with one model get the numbers of one thread, in every framework."""

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from pellucid import explain, testing, wrap
from pellucid.adapters.protocol import Tier
from pellucid.errors import CapabilityError

METHODS = {
    "saliency": {},
    "integrated_gradients": {"steps": 3},
    "smoothgrad": {"samples": 2},
    "occlusion": {"window": 6, "stride": 6},
    "gradcam": {},
}


def jobs(x: np.ndarray, supports: Tier) -> list:
    """Sixteen explanations that differ in method, samples, target and seed."""
    names = list(METHODS) if supports >= Tier.DIFFERENTIABLE else ["occlusion"]
    return [
        (names[i % len(names)], np.roll(x, i, axis=0)[: 1 + i % 5].copy(), i % 3, i)
        for i in range(16)
    ]


@pytest.mark.parametrize("framework", testing.FRAMEWORKS)
def test_eight_threads_give_the_serial_numbers(framework):
    network, x = testing.build("cnn", framework)
    model = wrap(network)
    before = model.fingerprint()

    def work(job) -> np.ndarray | str:
        method, batch, target, seed = job
        try:
            given = METHODS[method]
            return explain(model, batch, method, target=target, seed=seed, **given).values
        except CapabilityError as reason:  # plain TensorFlow functions show no layers
            return str(reason)

    todo = jobs(x, model.supports)
    with ThreadPoolExecutor(8) as pool:  # before anything is cached
        together = list(pool.map(work, todo))
    serial = [work(job) for job in todo]
    for one, other, job in zip(together, serial, todo, strict=True):
        if isinstance(other, str):
            assert one == other
            continue
        scale = np.abs(other).max()
        np.testing.assert_allclose(one, other, rtol=0, atol=1e-6 * scale, err_msg=str(job[0]))
    assert model.fingerprint() == before
