"""What an image is made of while it is optimised: its pixels, its spectrum, or the phases of one.

Arrays here are float64, `(k, *space, channels)`: k images, channels last.
"""

from abc import ABC, abstractmethod
from dataclasses import dataclass

import numpy as np

COLOURS = np.array([[0.56, 0.22, 0.05], [0.57, -0.02, -0.12], [0.60, -0.19, 0.07]])
"""Columns: light, blue–yellow, red–green: principal axes of the colours of the eight demo photos,
each as long as its standard deviation, the first of length 1 (Ruderman, Cronin, Chiao 1998 find
the same three in natural pictures)."""

_START = 0.01


@dataclass(frozen=True)
class Range:
    """The values an input may take, `low` to `high`, arrays beside `(k, *space, channels)`."""

    low: np.ndarray
    high: np.ndarray

    @property
    def middle(self) -> np.ndarray:
        return (self.low + self.high) / 2

    def squash(self, raw: np.ndarray) -> np.ndarray:
        """Low + (high − low) σ(raw)."""
        return self.low + (self.high - self.low) / (1 + np.exp(-np.clip(raw, -60, 60)))

    def slope(self, image: np.ndarray) -> np.ndarray:
        """The derivative of `squash` where it gives `image`."""
        return (image - self.low) * (self.high - image) / (self.high - self.low)


class Parametrisation(ABC):
    """Images as a function of parameters, and the way back for gradients."""

    name: str

    @abstractmethod
    def start(self, generator: np.random.Generator) -> np.ndarray:
        """Parameters to start from; all k images start alike."""

    @abstractmethod
    def images(self, parameters: np.ndarray) -> np.ndarray: ...

    @abstractmethod
    def pullback(self, parameters: np.ndarray, gradient: np.ndarray) -> np.ndarray:
        """Jᵀ gradient, where J is the derivative of `images` at the parameters."""


@dataclass(frozen=True)
class Pixels(Parametrisation):
    """The values themselves, squashed into the range where there is one."""

    shape: tuple[int, ...]
    range: Range | None
    name = "pixels"

    def start(self, generator: np.random.Generator) -> np.ndarray:
        drawn = _START * generator.standard_normal(self.shape[1:])
        return np.broadcast_to(drawn, self.shape).copy()

    def images(self, parameters: np.ndarray) -> np.ndarray:
        return parameters.copy() if self.range is None else self.range.squash(parameters)

    def pullback(self, parameters: np.ndarray, gradient: np.ndarray) -> np.ndarray:
        if self.range is None:
            return gradient
        return gradient * self.range.slope(self.range.squash(parameters))


@dataclass(frozen=True)
class Ball(Parametrisation):
    """The values themselves, none of which lie further than `radius` from 0.

    x = p where ‖p‖₂ ≤ r, else r p / ‖p‖₂

    A projection after each step of Adam would not do: Adam steps alike along all values, and comes
    to rest elsewhere than at the best point of the ball.
    """

    shape: tuple[int, ...]
    radius: float
    name = "pixels"

    def start(self, generator: np.random.Generator) -> np.ndarray:
        return Pixels(self.shape, None).start(generator)

    def images(self, parameters: np.ndarray) -> np.ndarray:
        return parameters * np.minimum(1.0, self.radius / self._length(parameters))

    def pullback(self, parameters: np.ndarray, gradient: np.ndarray) -> np.ndarray:
        length = self._length(parameters)
        unit = parameters / length
        along = (unit * gradient).sum(axis=tuple(range(1, gradient.ndim)), keepdims=True)
        outside = self.radius / length * (gradient - unit * along)
        return np.where(length > self.radius, outside, gradient)

    def _length(self, parameters: np.ndarray) -> np.ndarray:
        within = tuple(range(1, parameters.ndim))
        squares = (parameters**2).sum(axis=within, keepdims=True)
        return np.maximum(np.sqrt(squares), 1e-300)


@dataclass(frozen=True)
class Fourier(Parametrisation):
    """A spectrum with the strengths of natural pictures, 1/f, and colours that do not correlate.

    raw = irfft(s / max(f, 1/side)^decay) Cᵀ,   image = low + (high − low) σ(raw)

    So one step of all parameters changes large shapes as much as small ones, and light as much as
    in photographs. Olah, Mordvintsev, Schubert 2017, "Preconditioning and Parameterization".
    """

    shape: tuple[int, ...]
    range: Range
    decay: float = 1.0
    name = "fourier"

    @property
    def _strength(self) -> np.ndarray:
        space = self.shape[1:-1]
        size = np.sqrt(np.prod(space))
        return (size / np.maximum(frequencies(space), 1 / max(space)) ** self.decay / 4)[..., None]

    def start(self, generator: np.random.Generator) -> np.ndarray:
        half = half_of(self.shape[1:-1])
        drawn = _START * generator.standard_normal((*half, self.shape[-1], 2))
        return np.broadcast_to(drawn, (self.shape[0], *drawn.shape)).copy()

    def images(self, parameters: np.ndarray) -> np.ndarray:
        return self.range.squash(self._raw(parameters))

    def _raw(self, parameters: np.ndarray) -> np.ndarray:
        spectrum = (parameters[..., 0] + 1j * parameters[..., 1]) * self._strength
        raw = to_space(spectrum, self.shape[1:-1])
        return raw @ COLOURS.T if self.shape[-1] == 3 else raw

    def pullback(self, parameters: np.ndarray, gradient: np.ndarray) -> np.ndarray:
        found = gradient * self.range.slope(self.images(parameters))
        found = found @ COLOURS if self.shape[-1] == 3 else found
        spectrum = from_space(found) * self._strength
        return np.stack([np.real(spectrum), np.imag(spectrum)], axis=-1)


@dataclass(frozen=True)
class Phases(Parametrisation):
    """Strengths of a spectrum that stay as real pictures have them; only phases are free (MACO).

    image = irfft(magnitude · e^{iφ}), cut off at the range where there is one

    The zeroth frequency keeps the pictures' mean. Fel et al. 2023 (arXiv 2306.06805), section 3.
    """

    shape: tuple[int, ...]
    magnitude: np.ndarray
    """`(1, *half, channels)`; the zeroth with the sign of the mean."""
    range: Range | None
    name = "maco"

    def start(self, generator: np.random.Generator) -> np.ndarray:
        half = half_of(self.shape[1:-1])
        drawn = generator.uniform(-np.pi, np.pi, (*half, self.shape[-1]))
        drawn[(0,) * len(half)] = 0.0
        return np.broadcast_to(drawn, (self.shape[0], *drawn.shape)).copy()

    def images(self, parameters: np.ndarray) -> np.ndarray:
        raw = self._raw(parameters)
        return raw if self.range is None else np.clip(raw, self.range.low, self.range.high)

    def _raw(self, parameters: np.ndarray) -> np.ndarray:
        return to_space(self.magnitude * np.exp(1j * parameters), self.shape[1:-1])

    def pullback(self, parameters: np.ndarray, gradient: np.ndarray) -> np.ndarray:
        if self.range is not None:
            raw = self._raw(parameters)
            gradient = gradient * ((raw >= self.range.low) & (raw <= self.range.high))
        spectrum = from_space(gradient)
        found = self.magnitude * (
            np.imag(spectrum) * np.cos(parameters) - np.real(spectrum) * np.sin(parameters)
        )
        found[(slice(None), *(0,) * (found.ndim - 2))] = 0.0
        return found


def mean_magnitude(images: np.ndarray) -> np.ndarray:
    """The mean strength of each frequency over images `(n, *space, channels)`, `(1, *half, c)`.

    The zeroth is the mean itself, with its sign.
    """
    space = tuple(range(1, images.ndim - 1))
    spectrum = np.fft.rfftn(images.astype(np.float64), axes=space)
    found = np.abs(spectrum).mean(axis=0, keepdims=True)
    zeroth = (slice(None), *(0,) * len(space))
    found[zeroth] = spectrum[zeroth].real.mean(axis=0)
    return found


def half_of(space: tuple[int, ...]) -> tuple[int, ...]:
    """The shape of the half of a spectrum that real images need."""
    return (*space[:-1], space[-1] // 2 + 1)


def frequencies(space: tuple[int, ...]) -> np.ndarray:
    """Cycles a position of each entry of the half spectrum."""
    along = [np.fft.fftfreq(n) for n in space[:-1]] + [np.fft.rfftfreq(space[-1])]
    return np.sqrt(sum(f**2 for f in np.meshgrid(*along, indexing="ij")))


def to_space(spectrum: np.ndarray, space: tuple[int, ...]) -> np.ndarray:
    """Real images `(k, *space, c)` of half spectra."""
    return np.fft.irfftn(spectrum, s=space, axes=tuple(range(1, len(space) + 1)))


def from_space(gradient: np.ndarray) -> np.ndarray:
    """The adjoint of `to_space`, real and imaginary parts as two real numbers each."""
    space = gradient.shape[1:-1]
    axes = tuple(range(1, len(space) + 1))
    found = np.fft.rfftn(gradient, axes=axes)
    # An entry stands for its mirror image as well, but for the first and (of even sides) the last.
    weight = np.full(space[-1] // 2 + 1, 2.0)
    weight[0] = 1.0
    if space[-1] % 2 == 0:
        weight[-1] = 1.0
    return found * weight[:, None] / np.prod(space)
