"""Pictures of any range and number of channels: tiles, files, boxes, skeletons, masks."""

import copy

import numpy as np
import pytest
from matplotlib.patches import Rectangle
from PIL import Image

from pellucid import plots
from pellucid.errors import InputError

RNG = np.random.default_rng(0)
PICTURE = RNG.uniform(size=(20, 30, 3)).astype(np.float32)


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        (np.array([[0.0, 0.5, 1.0]]), [0, 128, 255]),
        (np.array([[-1.0, 0.0, 1.0]]), [0, 128, 255]),
        (np.array([[2.0, 4.0, 6.0]]), [0, 128, 255]),
        (np.array([[0, 7, 255]], np.uint8), [0, 7, 255]),
        (np.array([[False, True, True]]), [0, 255, 255]),
        (np.array([[10, 20, 30]]), [0, 128, 255]),
        (np.array([[3.0, 3.0, 3.0]]), [128, 128, 128]),
    ],
)
def test_ranges(given, expected):
    pixels = plots.to_pixels(given)
    assert pixels.shape == (1, 3, 3)
    assert pixels[0, :, 0].tolist() == expected
    assert (pixels[..., 0] == pixels[..., 2]).all()


@pytest.mark.parametrize("channels", [1, 2, 3, 4, 5, 12])
def test_channels(channels):
    image = RNG.uniform(size=(6, 7, channels))
    pixels = plots.to_pixels(image)
    assert (pixels.dtype, pixels.shape) == (np.uint8, (6, 7, 3))
    first = plots.to_pixels(np.moveaxis(image, -1, 0), channels="first")
    np.testing.assert_array_equal(first, pixels)
    if channels == 3:
        np.testing.assert_array_equal(pixels, np.round(image * 255))
    if channels == 4:
        clear = plots.to_pixels(np.concatenate([image[..., :3], np.zeros((6, 7, 1))], -1))
        assert (clear == 255).all()


@pytest.mark.parametrize(
    "wrong", [np.zeros(3), np.zeros((0, 3)), np.array([["a"]]), np.full((2, 2), np.nan),
              np.zeros((2, 2, 2, 2))],
)  # fmt: skip
def test_what_is_no_picture(wrong):
    with pytest.raises(InputError, match="picture"):
        plots.to_pixels(wrong)


def test_a_mosaic_has_every_tile_in_its_place():
    tiles = RNG.normal(size=(5, 4, 6, 3))
    sheet = plots.mosaic(tiles, 3, gap=2, fill=9.0)
    assert sheet.shape == (10, 22, 3)
    for i, tile in enumerate(tiles):
        top, left = 6 * (i // 3), 8 * (i % 3)
        np.testing.assert_array_equal(sheet[top : top + 4, left : left + 6], tile)
    assert (sheet[4:6] == 9).all()
    assert (sheet[6:, 16:] == 9).all()
    for wrong in ([], [np.zeros((2, 2)), np.zeros((3, 2))], [np.zeros(3)]):
        with pytest.raises(InputError, match="tiles of one shape"):
            plots.mosaic(wrong)
    with pytest.raises(InputError, match="columns"):
        plots.mosaic(tiles, 0)


def test_a_grid_of_pictures_of_several_sizes():
    images = [PICTURE, RNG.normal(size=(9, 5)), RNG.integers(0, 256, (7, 7, 1), np.uint8)]
    figure = plots.image_grid(images, ["a $", "<b>", "c"], columns=2, title="three")
    assert [axes.get_title() for axes in figure.axes if axes.images] == ["a $", "<b>", "c"]
    assert len(figure.axes) == 4
    shared = plots.image_grid([np.zeros((2, 2)), np.ones((2, 2)) * 8], scale="all")
    assert [axes.images[0].get_array()[0, 0, 0] for axes in shared.axes] == [0, 255]
    for wrong in ({"images": []}, {"images": images, "labels": ["a"]},
                  {"images": images, "scale": "some"}):  # fmt: skip
        with pytest.raises(InputError):
            plots.image_grid(**wrong)


def test_a_frame_on_own_axes():
    axes = plots.frame(PICTURE, "one")
    assert plots.frame(PICTURE[..., 0], ax=axes) is axes
    assert axes.images[0].get_array().shape == (20, 30, 3)


@pytest.mark.parametrize("end", ["png", "bmp", "tif", "jpg", "webp"])
def test_what_is_written_is_read(tmp_path, end):
    path = plots.save_image(PICTURE, tmp_path / f"one.{end}")
    found = plots.read_image(path)
    assert found.shape == (20, 30, 3)
    if end in ("png", "bmp", "tif"):
        np.testing.assert_array_equal(found, plots.to_pixels(PICTURE))
    grey = plots.save_image(PICTURE[..., :1], tmp_path / f"grey.{end}")
    assert plots.read_image(grey).shape == (20, 30, 3)


def test_lists_are_read_in_order_and_tiles_written(tmp_path):
    names = []
    for i in range(6):
        names.append(f"{i}.png")
        plots.save_image(np.full((3, 4, 3), 40 * i, np.uint8), tmp_path / names[-1])
    found = plots.read_images(names, tmp_path, threads=3)
    assert [int(image[0, 0, 0]) for image in found] == [0, 40, 80, 120, 160, 200]
    assert plots.read_images([]) == []
    sheet = plots.read_image(plots.save_images(found, tmp_path / "all.png", columns=3, gap=2))
    assert sheet.shape == (8, 16, 3)
    assert sheet[5, 6, 0] == 160


def test_hostile_and_broken_files_are_named(tmp_path):
    good = plots.save_image(PICTURE, tmp_path / "good.png")
    whole = good.read_bytes()
    bad = {
        "cut.png": whole[: len(whole) // 2],
        "text.png": b"not a picture",
        "empty.png": b"",
        "page.svg": b"<svg xmlns='http://www.w3.org/2000/svg'><script/></svg>",
        "<img src=x>.png": whole[:40],
    }
    for name, content in bad.items():
        (tmp_path / name).write_bytes(content)
        with pytest.raises(InputError) as raised:
            plots.read_images(["good.png", name], tmp_path)
        assert name in str(raised.value)
    big = Image.new("1", (60_000, 3_000))
    big.save(tmp_path / "bomb.png")
    with pytest.raises(InputError, match=r"bomb\.png is too large"):
        plots.read_image(tmp_path / "bomb.png")
    for path in ("absent.png", "."):
        with pytest.raises(InputError):
            plots.read_images([path], tmp_path)
    with pytest.raises(InputError, match="list of file names"):
        plots.read_images("good.png")
    with pytest.raises(InputError, match="threads"):
        plots.read_images([good], threads=0)
    for name in ("one.gif", "one", "no folder/one.png"):
        with pytest.raises(InputError, match=name):
            plots.save_image(PICTURE, tmp_path / name)
    with pytest.raises(InputError, match="one shape"):
        plots.save_images([PICTURE, PICTURE[:5]], tmp_path / "two.png")


def rectangles(axes):
    return [
        (p.get_x() + 0.5, p.get_y() + 0.5, p.get_width(), p.get_height())
        for p in axes.patches
        if isinstance(p, Rectangle)
    ]


@pytest.mark.parametrize(
    ("found", "form", "relative"),
    [
        ([[3.5, 4, 13.5, 10]], "corners", False),
        ([[3.5, 4, 10, 6]], "size", False),
        ([[8.5, 7, 10, 6]], "centre", False),
        ([[8.5 / 30, 7 / 20, 10 / 30, 6 / 20]], "centre", True),
        ([{"bbox": [3.5, 4, 10, 6], "category_id": 2, "score": 0.75}], "corners", False),
    ],
)
def test_boxes_in_every_form(found, form, relative):
    given, picture = copy.deepcopy(found), PICTURE.copy()
    options = {} if isinstance(found[0], dict) else {"labels": [2], "scores": [0.75]}
    axes = plots.boxes(
        picture, found, form=form, relative=relative, names={2: "<b>bird</b> $x$"}, **options
    )
    np.testing.assert_allclose(rectangles(axes), [[3.5, 4, 10, 6]], atol=1e-9)
    assert axes.texts[0].get_text() == "<b>bird</b> $x$ 0.75"
    assert found == given
    np.testing.assert_array_equal(picture, PICTURE)
    axes.figure.draw_without_rendering()


def test_boxes_without_anything_and_wrong_ones():
    assert rectangles(plots.boxes(PICTURE, [])) == []
    assert len(plots.boxes(PICTURE, np.zeros((3, 4))).texts) == 0
    wrong = [
        {"found": [[1, 2, 3]]},
        {"found": [[5, 5, 1, 1]]},
        {"found": [[0, 0, np.nan, 1]]},
        {"found": [[0, 0, 1, 1]], "labels": []},
        {"found": [[0, 0, 1, 1]], "scores": ["high"]},
        {"found": [{"box": 1}]},
        {"found": [[0, 0, 1, 1]], "form": "other"},
        {"found": [[0, 0, 1, 1]], "labels": [7], "names": ["a"]},
    ]
    for given in wrong:
        with pytest.raises(InputError):
            plots.boxes(PICTURE, **given)


def test_mpii_people_and_arrays_of_joints():
    joints = {str(j): [float(j), float(j) / 2] for j in range(16) if j != 9}
    person = {"joint_pos": joints, "head_rect": [1.5, 2, 6, 9]}
    given = copy.deepcopy(person)
    axes = plots.skeletons(PICTURE, [person])
    assert person == given
    assert len(axes.lines) == len(plots.MPII_BONES) - 1  # the bone to the absent head top
    assert len(axes.collections[0].get_offsets()) == 15
    assert axes.patches[0].get_width() == 4.5
    array = RNG.uniform(0, 20, (2, 16, 3))
    array[0, :8, 2] = -1
    assert len(plots.skeletons(PICTURE, array).collections[0].get_offsets()) == 8
    other = plots.skeletons(PICTURE, array[:, :3, :2], bones=[(0, 1), (1, 2)])
    assert len(other.lines) == 4
    for wrong in ([{"pose": 1}], np.zeros((1, 3, 2)), [{"joint_pos": {"a": 1}}]):
        with pytest.raises(InputError, match=r"[Pp]erson 0"):
            plots.skeletons(PICTURE, wrong)


def test_masks_as_numbers_and_one_by_one():
    numbers = np.zeros((20, 30), int)
    numbers[2:8, 2:8], numbers[10:15, 10:20] = 1, 5
    axes = plots.masks(PICTURE, numbers, {1: "cat", 5: "<dog>"})
    drawn = axes.images[0].get_array()
    outside = numbers == 0
    np.testing.assert_allclose(drawn[outside], plots.to_pixels(PICTURE)[outside] / 255, atol=1e-6)
    assert not np.allclose(drawn[~outside], PICTURE[~outside], atol=0.05)
    assert [t.get_text() for t in axes.get_legend().get_texts()] == ["cat", "<dog>"]
    each = plots.masks(PICTURE, np.stack([numbers == 1, numbers == 5]))
    np.testing.assert_allclose(each.images[0].get_array(), drawn)
    shares = np.stack([numbers == 1, numbers == 5]) * 0.6
    np.testing.assert_allclose(plots.masks(PICTURE, shares).images[0].get_array(), drawn)
    for wrong in (numbers[:5], numbers + 0.5, np.full((1, 20, 30), np.nan)):
        with pytest.raises(InputError, match="Expected"):
            plots.masks(PICTURE, wrong)
    with pytest.raises(InputError, match="no name"):
        plots.masks(PICTURE, numbers, ["nothing", "cat"])
