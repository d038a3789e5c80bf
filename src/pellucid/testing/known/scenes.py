"""Pictures in which a shape has to be found wherever it lies, with networks set by hand.

All of them read one network: a pixel counts as lit by how far it is over 1, up to 2, and a filter
for each way that a shape may be turned answers where all four of its pixels are lit. Shapes are lit
to 2.5 or more, noise stays below 1, so what answers is exactly one filter in one place: by symmetry
each of the four pixels gets a quarter, and all else nothing. At the picture itself the answer has
saturated, and its gradient is 0.
"""

import numpy as np

from pellucid.testing.known.answers import KnownAnswer
from pellucid.testing.known.network import Convolution, Dense, HandSet
from pellucid.testing.known.noise import smooth_noise
from pellucid.testing.known.pictures import L, T

LIT = 2.5
FAINT = 0.5
"""What noise goes up to, up or down."""


def tetromino_rigid(generator: np.random.Generator, count: int) -> KnownAnswer:
    """A T, which says 1, or an L, which says −1, turned and moved anywhere in 8 × 8 of noise.

    Clark et al. 2023 (arXiv 2306.12816), section 3.1, "rigid transformation"; their networks are
    trained, this one is set.
    """
    return _anywhere(generator.uniform(-FAINT, FAINT, (count, 8, 8)), generator)


def tetromino_rigid_correlated(generator: np.random.Generator, count: int) -> KnownAnswer:
    """The same where neighbours of the noise are alike."""
    noise = smooth_noise(generator, count)
    return _anywhere(FAINT * noise / np.abs(noise).max(axis=(1, 2), keepdims=True), generator)


def _anywhere(x: np.ndarray, generator: np.random.Generator) -> KnownAnswer:
    truth = np.zeros_like(x)
    for picture, own in zip(x, truth, strict=True):
        _place(picture, own, (0, 8), generator)
    return _seen(x, truth)


def stacked_blocks(generator: np.random.Generator, count: int) -> KnownAnswer:
    """Two blocks of 8 × 8, one over the other: a T or an L in one, a square, of no class, in both.

    In the manner of BlockMNIST (Shah et al. 2021, arXiv 2102.12781, section 4): which block holds
    the signal is drawn, and the other one must get nothing. What they show of *trained* networks,
    whose gradients leak into it, is not said of this one.
    """
    x = generator.uniform(-FAINT, FAINT, (count, 16, 8))
    truth = np.zeros_like(x)
    for picture, own in zip(x, truth, strict=True):
        begin = 8 * int(generator.integers(2))
        _place(picture, own, (begin + 1, begin + 7), generator)
        other = 8 - begin
        row, column = other + generator.integers(1, 6), generator.integers(0, 7)
        picture[row : row + 2, column : column + 2] = LIT
    return _seen(x, truth)


def balanced_image(generator: np.random.Generator, count: int) -> KnownAnswer:
    """A T or an L in red, green or blue over stripes, checks or noise, each as often as others.

    As XAI-Units' BalancedImageDataset combines shapes, colours and backgrounds; pictures of
    `(12, 12, 3)`. The shape says 1 or −1, colour and background nothing: of the four pixels the
    channel that is lit gets a quarter each.
    """
    kinds = np.arange(count)
    return _coloured(generator, kinds % 2 == 0, kinds // 2 % 3, kinds // 6 % 3)


def imbalanced_image(generator: np.random.Generator, count: int) -> KnownAnswer:
    """The same with stripes behind four of five Ts and checks behind four of five Ls, all red.

    As XAI-Units' ImbalancedImageDataset: the background nearly tells the class, and a network that
    was trained might look there. This one does not, so a map that shows the background says
    something of the data, and nothing of the model.
    """
    shapes = np.arange(count) % 2 == 0
    usual = np.where(shapes, 0, 1)
    rare = np.arange(count) // 2 % 5 == 4
    return _coloured(generator, shapes, np.zeros(count, int), np.where(rare, 1 - usual, usual))


def _coloured(
    generator: np.random.Generator, is_t: np.ndarray, colours: np.ndarray, behind: np.ndarray
) -> KnownAnswer:
    rows, columns = np.indices((12, 12))
    patterns = np.stack([rows % 4 < 2, (rows // 2 + columns // 2) % 2 == 0])
    shape = (len(is_t), 12, 12, 3)
    x = generator.uniform(-FAINT, FAINT, shape)
    truth = np.zeros(shape)
    for picture, own, t, colour, kind in zip(x, truth, is_t, colours, behind, strict=True):
        if kind < len(patterns):
            picture += 0.4 * patterns[kind][..., None]
        _place(picture[..., colour], own[..., colour], (0, 12), generator, is_t=bool(t))
    return _seen(x, truth)


def _place(
    picture: np.ndarray, truth: np.ndarray, rows: tuple[int, int],
    generator: np.random.Generator, *, is_t: bool | None = None,
) -> None:  # fmt: skip
    """Light a turned T or L somewhere between two rows, and write its truth."""
    is_t = bool(generator.integers(2)) if is_t is None else is_t
    shape = np.rot90(T if is_t else L, int(generator.integers(4)))
    row = generator.integers(rows[0], rows[1] - shape.shape[0] + 1)
    column = generator.integers(picture.shape[1] - shape.shape[1] + 1)
    inside = np.s_[row : row + shape.shape[0], column : column + shape.shape[1]]
    picture[inside][shape] = LIT
    truth[inside][shape] = 0.25 if is_t else -0.25


def _seen(x: np.ndarray, truth: np.ndarray) -> KnownAnswer:
    """The network over pictures of one or three channels, of which one pixel lights one."""
    wide = x[..., None] if x.ndim == 3 else x
    channels = wide.shape[-1]
    kernels = np.zeros((3, 3, 2 * channels, 8))
    for number, shape in enumerate([T, L]):
        for turn in range(4):
            own = np.rot90(shape, turn)
            place = kernels[: own.shape[0], : own.shape[1], :, 4 * number + turn]
            place[:] = own[..., None] * np.repeat([1.0, -1.0], channels)
    size = wide.shape[1] * wide.shape[2]
    eye = np.eye(channels)
    network = HandSet(
        [
            Convolution(
                np.hstack([eye, eye])[None, None], np.repeat([-1.0, -2.0], channels), "relu"
            ),
            Convolution(kernels, np.full(8, -3.0), "relu"),
            Convolution(np.repeat([1.0, -1.0], 4)[None, None, :, None], np.zeros(1)),
            Dense(np.ones((size, 1)), np.zeros(1)),
        ]
    )
    masks = (truth != 0).any(axis=-1) if x.ndim == 4 else truth != 0
    return KnownAnswer("", network, wide.astype(np.float32), truth.reshape(wide.shape), masks=masks)
