import contextlib
import struct
import zlib

import numpy as np
import pytest
from PIL import Image

from pellucid.errors import InputError
from pellucid.inputs.image import FORMATS, MAX_IMAGE_PIXELS, fit_image, read_image


@pytest.fixture
def picture():
    rows, columns = np.mgrid[0:40, 0:60]
    return np.stack([rows * 6, columns * 4, rows + columns], axis=-1).astype(np.uint8)


def png_claiming(width, height):
    """A PNG of 8-bit RGB whose header promises far more pixels than follow."""

    def chunk(kind, data):
        body = kind + data
        return struct.pack(">I", len(data)) + body + struct.pack(">I", zlib.crc32(body))

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    pixels = chunk(b"IDAT", zlib.compress(b"\0" * 1000))
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + pixels + chunk(b"IEND", b"")


@pytest.mark.parametrize("suffix", ["png", "bmp", "tiff"])
def test_lossless_formats_come_back_as_they_were(tmp_path, picture, suffix):
    path = tmp_path / f"a.{suffix}"
    Image.fromarray(picture).save(path)
    found = read_image(path)
    assert found.dtype == np.uint8
    np.testing.assert_array_equal(found, picture)
    found[0, 0] = 0  # writable


@pytest.mark.parametrize("suffix", ["jpg", "webp", "gif"])
def test_lossy_formats_come_back_nearly(tmp_path, picture, suffix):
    path = tmp_path / f"a.{suffix}"
    Image.fromarray(picture).save(path)
    difference = np.abs(read_image(str(path)).astype(int) - picture)
    assert difference.mean() < 12


@pytest.mark.parametrize("orientation", range(1, 9))
def test_pictures_are_turned_upright(tmp_path, picture, orientation):
    exif = Image.Exif()
    exif[0x0112] = orientation
    path = tmp_path / "turned.png"
    Image.fromarray(picture).save(path, exif=exif)
    expected = {
        1: picture,
        2: picture[:, ::-1],
        3: picture[::-1, ::-1],
        4: picture[::-1],
        5: picture.transpose(1, 0, 2),
        6: np.rot90(picture, -1),
        7: np.rot90(picture.transpose(1, 0, 2), 2),
        8: np.rot90(picture, 1),
    }[orientation]
    np.testing.assert_array_equal(read_image(path), expected)


def test_grey_palette_and_cmyk_become_rgb(tmp_path, picture):
    for mode, name in (("L", "a.png"), ("P", "b.png"), ("CMYK", "c.tiff"), ("1", "d.png")):
        path = tmp_path / name
        Image.fromarray(picture).convert(mode).save(path)
        assert read_image(path).shape == picture.shape


def test_transparent_pixels_are_white_not_what_hides_behind(tmp_path, picture):
    alpha = np.zeros((*picture.shape[:2], 1), np.uint8)
    alpha[:, 30:] = 255
    path = tmp_path / "a.png"
    Image.fromarray(np.concatenate([picture, alpha], axis=-1)).save(path)
    found = read_image(path)
    assert (found[:, :30] == 255).all()
    np.testing.assert_array_equal(found[:, 30:], picture[:, 30:])


def test_sixteen_bit_grey_keeps_its_range(tmp_path):
    ramp = np.linspace(0, 65535, 256).astype(np.uint16).reshape(16, 16)
    path = tmp_path / "deep.png"
    Image.fromarray(ramp).save(path)
    np.testing.assert_array_equal(read_image(path)[..., 0], ramp >> 8)


def test_floating_point_pixels_are_refused(tmp_path):
    path = tmp_path / "elevation.tiff"
    Image.fromarray(np.ones((4, 4), np.float32)).save(path)
    with pytest.raises(InputError, match="32-bit values of unknown range"):
        read_image(path)


def test_missing_and_folder(tmp_path):
    with pytest.raises(InputError, match=r"absent\.png cannot be read: No such file"):
        read_image(tmp_path / "absent.png")
    with pytest.raises(InputError, match="is a folder"):
        read_image(tmp_path)


def test_empty(tmp_path):
    path = tmp_path / "empty.png"
    path.touch()
    with pytest.raises(InputError, match=r"empty\.png is empty"):
        read_image(path)


@pytest.mark.parametrize(
    "content",
    [
        b"This is a letter, not a picture.\n" * 20,
        b"<svg xmlns='http://www.w3.org/2000/svg'><script/></svg>",
        b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 10 10\n",
    ],
    ids=["text", "svg", "postscript"],
)
def test_what_is_not_a_picture_says_so(tmp_path, content):
    path = tmp_path / "letter.png"
    path.write_bytes(content)
    with pytest.raises(InputError, match=r"letter\.png is not a picture in a format .*PNG"):
        read_image(path)


@pytest.mark.parametrize("suffix", ["png", "jpg", "webp", "bmp", "tiff", "gif"])
@pytest.mark.parametrize("kept", [0.3, 0.6, 0.9])
def test_truncated_files_are_named(tmp_path, suffix, kept):
    noise = np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    path = tmp_path / f"cut.{suffix}"
    Image.fromarray(noise).save(path)
    content = path.read_bytes()
    path.write_bytes(content[: int(kept * len(content))])
    with pytest.raises(InputError, match=rf"cut\.{suffix}"):
        read_image(path)


def test_flipped_bytes_end_in_a_picture_or_an_input_error(tmp_path, picture):
    rng = np.random.default_rng(1)
    path = tmp_path / "flipped.png"
    Image.fromarray(picture).save(path)
    content = np.frombuffer(path.read_bytes(), np.uint8)
    for _ in range(100):
        damaged = content.copy()
        damaged[rng.integers(0, content.size, 3)] ^= rng.integers(1, 256, 3, dtype=np.uint8)
        path.write_bytes(damaged.tobytes())
        with contextlib.suppress(InputError):
            assert read_image(path).dtype == np.uint8


@pytest.mark.parametrize("side", [9_500, 12_000, 60_000])
def test_pixel_bombs_are_refused_before_decoding(tmp_path, side):
    assert side * side > MAX_IMAGE_PIXELS
    path = tmp_path / "bomb.png"
    path.write_bytes(png_claiming(side, side))
    with pytest.raises(InputError, match=r"bomb\.png is too large to decode safely.*89,478,485"):
        read_image(path)


def test_no_format_that_is_a_program():
    assert not {"EPS", "PDF", "SVG", "WMF"} & set(FORMATS)


def test_fit_cuts_the_centre_and_keeps_proportions():
    image = np.zeros((100, 300, 3), np.uint8)
    image[:, 100:200] = 200  # exactly the central square
    assert (fit_image(image, 50, 50) == 200).all()
    assert fit_image(image, 30, 70).shape == (30, 70, 3)
    upright = fit_image(image.transpose(1, 0, 2), 50, 50)
    assert (upright == 200).all()


def test_fit_of_the_right_size_is_a_copy(picture):
    fitted = fit_image(picture, 40, 60)
    np.testing.assert_array_equal(fitted, picture)
    assert not np.shares_memory(fitted, picture)


@pytest.mark.parametrize("bad", [np.zeros((4, 4), np.uint8), np.zeros((4, 4, 3), np.float32)])
def test_fit_wants_rgb_bytes(bad):
    with pytest.raises(InputError, match="uint8 of shape"):
        fit_image(bad, 2, 2)


def test_fit_wants_a_size(picture):
    with pytest.raises(InputError, match="cannot fit"):
        fit_image(picture, 0, 10)
