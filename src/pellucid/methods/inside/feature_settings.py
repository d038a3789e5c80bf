"""The settings of a feature visualisation, made fit for one shape of inputs."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from pellucid.errors import InputError
from pellucid.methods.inside.ascent import Ascent, channels_last
from pellucid.methods.inside.parametrisation import (
    Ball,
    Fourier,
    Parametrisation,
    Phases,
    Pixels,
    Range,
    mean_magnitude,
)
from pellucid.methods.inside.penalties import Penalties
from pellucid.methods.inside.transformations import Transformations

PARAMETRISATIONS = ("auto", "fourier", "pixels", "maco")

_SMALLEST = 16
"""Sides below which an image is not moved unless asked: interpolation would blur it away."""


@dataclass(frozen=True)
class Settings:
    """As in `visualize_feature`."""

    parametrisation: str = "auto"
    steps: int = 256
    rate: float | None = None
    jitter: int | None = None
    scale: float | None = None
    rotate: float | None = None
    pad: int | None = None
    total_variation: float = 0.0
    l2: float = 0.0
    l1: float = 0.0
    norm: float | None = None

    def check(self) -> None:
        """Raise `InputError` for numbers that mean nothing."""
        if self.parametrisation not in PARAMETRISATIONS:
            raise InputError(
                f"Expected parametrisation to be one of {PARAMETRISATIONS},"
                f" got {self.parametrisation!r}."
            )
        if isinstance(self.steps, bool) or int(self.steps) != self.steps or self.steps < 1:
            raise InputError(f"Expected steps to be a whole number of 1 or more: {self.steps!r}.")
        for name in ("jitter", "scale", "rotate", "pad", "total_variation", "l2", "l1"):
            value = getattr(self, name)
            if value is not None and not (np.isfinite(value) and value >= 0):
                raise InputError(f"Expected {name} to be 0 or more, got {value!r}.")
        for name in ("rate", "norm"):
            value = getattr(self, name)
            if value is not None and not (np.isfinite(value) and value > 0):
                raise InputError(f"Expected {name} to be above 0, got {value!r}.")
        if self.scale is not None and self.scale >= 1:
            raise InputError(f"Expected scale to be a share below 1, got {self.scale!r}.")

    def parametrisation_for(self, dims: tuple[str, ...]) -> str:
        """What "auto" means: the spectrum of pictures and volumes, the values of all else."""
        if self.parametrisation != "auto":
            return self.parametrisation
        return "fourier" if {"height", "width"} <= set(dims) else "pixels"

    def rate_for(self, parametrisation: str) -> float:
        """0.05, or 0.1 of a radian."""
        if self.rate is not None:
            return float(self.rate)
        return 0.1 if parametrisation == "maco" else 0.05

    def transformations_for(self, dims: tuple[str, ...], space: tuple[int, ...]) -> Transformations:
        """Those given; else a sixteenth of the side, 10 % and 10°, of pictures of 16 or more."""
        side = min(space, default=0)
        default = side >= _SMALLEST and {"height", "width"} <= set(dims)
        whole = side // 16 if default else 0

        def chosen(given: float | None, usual: float) -> float:
            return usual if given is None else given

        return Transformations(
            jitter=int(chosen(self.jitter, whole)),
            scale=float(chosen(self.scale, 0.1 if default else 0.0)),
            rotate=float(chosen(self.rotate, 10.0 if default else 0.0)),
            pad=int(chosen(self.pad, whole)),
        )

    def ascent(
        self,
        shape: tuple[int, ...],
        dims: tuple[str, ...],
        limits: Range | None,
        pictures: np.ndarray | None,
    ) -> Ascent:
        """Ready for k inputs of `shape (k, ...)`; `pictures (n, ...)` lend MACO their spectrum.

        Raises `InputError` for what does not go together.
        """
        self.check()
        first = "channel" in dims and dims.index("channel") == 1
        last = (shape[0], *shape[2:], shape[1]) if first else shape
        space = last[1:-1]
        kind = self.parametrisation_for(dims)
        middle = np.zeros(()) if limits is None else limits.middle
        return Ascent(
            parametrisation=self._made(kind, last, limits, pictures, first),
            transformations=self.transformations_for(dims, space),
            penalties=Penalties(self.total_variation, self.l2, self.l1),
            middle=middle, channels_first=first, steps=int(self.steps),
            rate=self.rate_for(kind),
        )  # fmt: skip

    def _made(
        self,
        kind: str,
        shape: tuple[int, ...],
        limits: Range | None,
        pictures: np.ndarray | None,
        first: bool,
    ) -> Parametrisation:
        if self.norm is not None and (kind != "pixels" or limits is not None):
            raise InputError(
                "norm= bounds the length of inputs made of their values, without a value_range:"
                f" parametrisation='pixels'; got {kind!r}"
                + (" and a value_range." if limits is not None else ".")
            )
        if kind != "pixels" and len(shape) < 3:
            raise InputError(f"{kind!r} needs inputs with space or time; tables have 'pixels'.")
        if kind == "pixels":
            if limits is None and not (self.norm or self.l2):
                raise InputError(
                    "Nothing keeps the input finite: value_range=(low, high) or data= says which"
                    " values it may take; norm= or l2= holds it without."
                )
            return Pixels(shape, limits) if self.norm is None else Ball(shape, float(self.norm))
        if kind == "maco":
            if pictures is None:
                raise InputError("'maco' keeps the spectrum of real pictures: give some as data=.")
            return Phases(shape, mean_magnitude(channels_last(pictures, first)), limits)
        if limits is None:
            raise InputError(
                "value_range=(low, high) says which values an input may take, such as (-1, 1), in"
                " the model's own units; data= real inputs say it as well."
            )
        return Fourier(shape, limits)


def range_of(value_range: Any, inputs: np.ndarray | None, dims: tuple[str, ...]) -> Range | None:
    """The range given; else that of each channel (column) of the inputs; None without either.

    Channels last. Raises `InputError` for a range that is none.
    """
    first = "channel" in dims and dims.index("channel") == 1
    if value_range is not None:
        try:
            low, high = (np.asarray(v, dtype=np.float64) for v in value_range)
        except (TypeError, ValueError) as error:
            raise InputError(
                "Expected value_range to be a pair (low, high) of numbers, or of one number a"
                f" channel each, got {value_range!r}."
            ) from error
        fits = low.ndim <= 1 and high.ndim <= 1
        if (
            not fits
            or not np.isfinite(low).all()
            or not np.isfinite(high).all()
            or (low >= high).any()
        ):
            raise InputError(f"Expected value_range to have low < high, got {value_range!r}.")
        return Range(low, high)
    if inputs is None:
        return None
    own = channels_last(inputs, first).astype(np.float64)
    axes = tuple(range(own.ndim - 1))
    low, high = own.min(axis=axes), own.max(axis=axes)
    if (low >= high).any():
        raise InputError(
            "The inputs have a channel or column that never changes, so that its range is unknown:"
            " give value_range=(low, high)."
        )
    return Range(low, high)
