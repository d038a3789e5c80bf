"""People as joints and bones over a picture."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.patches import Rectangle

from pellucid.errors import InputError
from pellucid.plots.pixels import Channels
from pellucid.plots.style import OKABE_ITO, ThemeName
from pellucid.plots.tiles import frame

MPII_JOINTS = (
    "right ankle", "right knee", "right hip", "left hip", "left knee", "left ankle", "pelvis",
    "thorax", "upper neck", "head top", "right wrist", "right elbow", "right shoulder",
    "left shoulder", "left elbow", "left wrist",
)  # fmt: skip
MPII_BONES = (
    (0, 1), (1, 2), (2, 6), (6, 3), (3, 4), (4, 5), (6, 7), (7, 8), (8, 9), (10, 11), (11, 12),
    (12, 7), (7, 13), (13, 14), (14, 15),
)  # fmt: skip
"""The skeleton of the MPII Human Pose data set: 16 joints."""


def skeletons(
    image: np.ndarray,
    people: Sequence[Mapping[str, Any]] | np.ndarray | Sequence[Any],
    *,
    bones: Sequence[tuple[int, int]] = MPII_BONES,
    least: float = 0.0,
    channels: Channels = "last",
    ax: Axes | None = None,
    theme: ThemeName = "light",
) -> Axes:
    """Draw joints, bones and heads of people over a picture; returns the axes.

    `people` is an array `(people, joints, 2)` of x and y in pixels, or `(people, joints, 3)` with a
    confidence, of which those above `least` are drawn; NaN is a joint that is not seen. Or dicts as
    MPII's annotations: `"joint_pos"` from the joint's number to (x, y), those seen alone, and
    where there is one a `"head_rect"` (left, top, right, bottom). Bones right of the body (joints
    named so in MPII) are dashed. `bones` are pairs of joints.

    Raises `InputError` for joints of another shape, or a bone to a joint that there is not.
    """
    axes = frame(image, channels=channels, ax=ax, theme=theme)
    height, width = np.shape(image)[:2] if channels == "last" else np.shape(image)[-2:]
    for number, person in enumerate(people):
        joints, head = _person(person, number, bones, least)
        colour = OKABE_ITO[(5, 0, 2, 1, 3, 4, 6)[number % 7]]
        for a, b in bones:
            if a in joints and b in joints:
                right = bones is MPII_BONES and any("right" in MPII_JOINTS[j] for j in (a, b))
                (x0, y0), (x1, y1) = joints[a], joints[b]
                axes.plot(
                    [x0, x1], [y0, y1], color=colour, linewidth=2, solid_capstyle="round",
                    linestyle="--" if right else "-",
                )  # fmt: skip
        if joints:
            x, y = zip(*joints.values(), strict=True)
            axes.scatter(x, y, s=14, color=colour, edgecolor="white", linewidth=0.6, zorder=3)
        if head is not None:
            left, top, end, bottom = head
            axes.add_patch(
                Rectangle((left, top), end - left, bottom - top, fill=False, edgecolor=colour)
            )
    axes.set_xlim(-0.5, width - 0.5)
    axes.set_ylim(height - 0.5, -0.5)
    return axes


def _person(
    person: Any, number: int, bones: Sequence[tuple[int, int]], least: float
) -> tuple[dict[int, tuple[float, float]], tuple[float, float, float, float] | None]:
    head = None
    if isinstance(person, Mapping):
        if "joint_pos" not in person:
            raise InputError(
                f"Person {number} has no 'joint_pos'; the keys are {', '.join(map(str, person))}."
            )
        try:
            joints = {
                int(j): (float(place[0]), float(place[1]))
                for j, place in person["joint_pos"].items()
            }
            if person.get("head_rect") is not None:
                left, top, right, bottom = (float(v) for v in person["head_rect"])
                head = (left, top, right, bottom)
        except (TypeError, ValueError, IndexError, AttributeError) as error:
            raise InputError(f"Person {number} has joints that are no places: {error}.") from error
    else:
        array = np.asarray(person, dtype=np.float64)
        needed = 1 + max((max(bone) for bone in bones), default=-1)
        if array.ndim != 2 or array.shape[1] not in (2, 3) or len(array) < needed:
            raise InputError(
                f"Expected person {number} to be (joints, 2) or (joints, 3) with {needed} joints or"
                f" more, got shape {array.shape}."
            )
        sure = array[:, 2] > least if array.shape[1] == 3 else np.ones(len(array), bool)
        joints = {j: (x, y) for j, (x, y) in enumerate(array[:, :2].tolist()) if sure[j]}
    return {j: place for j, place in joints.items() if np.isfinite(place).all()}, head
