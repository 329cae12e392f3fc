"""Pictures of every kind, and damaged ones."""

import logging
import struct
import warnings
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, features

from agent.errors import DatasetError
from scenarios.datasets.image_decoding import decode_image, decoder_versions, image_suffixes, quiet_decoding
from tests.scenarios.pictures import write_image


def decode(path: Path, max_megapixels: float = 180.0) -> np.ndarray:
    with quiet_decoding(max_megapixels):
        return decode_image(str(path), max_megapixels)


@pytest.mark.parametrize(
    ("name", "mode", "value", "expected"),
    [
        ("a.png", "RGB", (10, 20, 30), (10, 20, 30)),
        ("a.png", "L", 100, (100, 100, 100)),
        ("a.png", "1", 1, (255, 255, 255)),
        ("a.png", "RGBA", (10, 20, 30, 255), (10, 20, 30)),
        ("a.png", "RGBA", (10, 20, 30, 0), (255, 255, 255)),
        ("a.png", "LA", (100, 255), (100, 100, 100)),
        ("a.png", "I;16", 257 * 200, (200, 200, 200)),
        ("a.tif", "I;16", 257 * 200, (200, 200, 200)),
        ("a.tiff", "RGB", (10, 20, 30), (10, 20, 30)),
        ("a.bmp", "RGB", (10, 20, 30), (10, 20, 30)),
        ("a.ppm", "RGB", (10, 20, 30), (10, 20, 30)),
        ("a.gif", "L", 100, (100, 100, 100)),
        ("a.PNG", "RGB", (10, 20, 30), (10, 20, 30)),
    ],
)
def test_every_mode_becomes_rgb(tmp_path, name, mode, value, expected):
    write_image(tmp_path / name, value, mode)
    pixels = decode(tmp_path / name)
    assert pixels.dtype == np.uint8
    assert np.array_equal(pixels, np.broadcast_to(np.array(expected, np.uint8), (32, 32, 3)))


@pytest.mark.parametrize("name", ["a.jpg", "a.webp"])
def test_lossy_kinds(tmp_path, name):
    write_image(tmp_path / name, (10, 20, 200))
    assert np.abs(decode(tmp_path / name).astype(int) - (10, 20, 200)).max() <= 3


@pytest.mark.parametrize("transparent", [False, True])
def test_palettes(tmp_path, transparent):
    image = Image.new("P", (32, 32), 1)
    image.putpalette([0, 0, 0, 10, 20, 30])
    image.save(tmp_path / "a.png", **({"transparency": 1} if transparent else {}))
    assert decode(tmp_path / "a.png")[5, 5].tolist() == ([255, 255, 255] if transparent else [10, 20, 30])


@pytest.mark.parametrize("size", [(1, 1), (1, 50), (8, 8), (31, 33), (300, 200), (200, 900)])
@pytest.mark.parametrize("suffix", ["png", "jpg"])
def test_other_sizes(tmp_path, size, suffix):
    write_image(tmp_path / f"a.{suffix}", (90, 90, 90), size=size)
    assert np.abs(decode(tmp_path / f"a.{suffix}").astype(int) - 90).max() <= 2
    assert decode(tmp_path / f"a.{suffix}").shape == (32, 32, 3)


def test_oblong_images_keep_their_middle(tmp_path):
    pixels = np.zeros((64, 192, 3), np.uint8)
    pixels[:, 64:128] = 255
    Image.fromarray(pixels).save(tmp_path / "a.png")
    assert decode(tmp_path / "a.png")[:, 3:-3].min() > 240


def test_shrinking_averages(tmp_path):
    board = (np.indices((128, 128)).sum(0) % 2 * 255).astype(np.uint8)
    Image.fromarray(board).save(tmp_path / "a.png")
    assert np.abs(decode(tmp_path / "a.png").astype(int) - 127).max() <= 6


def test_photographs_are_turned_upright(tmp_path):
    pixels = np.zeros((32, 32, 3), np.uint8)
    pixels[:16] = 255
    exif = Image.Exif()
    exif[0x0112] = 3  # upside down
    Image.fromarray(pixels).save(tmp_path / "a.png", exif=exif)
    assert decode(tmp_path / "a.png")[0, 0, 0] == 0


# Metadata that cannot be read.

HALVES = np.zeros((32, 32, 3), np.uint8)
HALVES[:16] = 200


def directory(*entries: tuple[int, int, int, bytes]) -> bytes:
    """A big-endian TIFF header with one directory of tag, type, count and value."""
    start, values, body = 8 + 2 + 12 * len(entries) + 4, b"", b""
    for tag, kind, count, value in sorted(entries):
        if len(value) > 4:
            value, values = struct.pack(">I", start + len(values)), values + value
        body += struct.pack(">HHI", tag, kind, count) + value.ljust(4, b"\0")
    return b"MM\0*" + struct.pack(">IH", 8, len(entries)) + body + struct.pack(">I", 0) + values


UPSIDE_DOWN = (0x0112, 3, 1, struct.pack(">H", 3))
TEXT_RESOLUTION = (0x011A, 2, 6, b"72dpi\0")
EXIF = directory(UPSIDE_DOWN, TEXT_RESOLUTION)


def chunk(kind: bytes, content: bytes = b"", damage: int = 0) -> bytes:
    checksum = struct.pack(">I", zlib.crc32(kind + content) ^ damage)
    return struct.pack(">I", len(content)) + kind + content + checksum


def write_png(
    path: Path, rows: list[bytes], *before: bytes, bits: int = 8, colours: int = 0, after: bytes = b""
) -> Path:
    """A PNG of 32 columns with these chunks before and after its pixels."""
    header = struct.pack(">IIBBBBB", 32, len(rows), bits, colours, 0, 0, 0)
    pixels = zlib.compress(b"".join(b"\0" + row for row in rows))
    content = [chunk(b"IHDR", header), *before, chunk(b"IDAT", pixels), after, chunk(b"IEND")]
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + b"".join(content))
    return path


def halves(above: bytes, below: bytes) -> list[bytes]:
    return [above] * 16 + [below] * 16


def ends(path: Path) -> tuple[int, int]:
    """The grey of the first and of the last row, without a warning on the way."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        pixels = decode(path)
    assert not caught
    assert (pixels == pixels[:, :1, :1]).all()
    return int(pixels[0, 0, 0]), int(pixels[-1, 0, 0])


@pytest.mark.parametrize(("name", "options"), [("a.jpg", {"quality": 95}), ("a.webp", {"lossless": True})])
@pytest.mark.parametrize(
    ("exif", "turned"),
    [(EXIF, True), (directory((0x0112, 3, 1, b"\0\x09")), False), (b"no TIFF at all", False), (EXIF[:12], False)],
    ids=["text for a number", "orientation 9", "garbage", "cut"],
)
def test_odd_exif_data(tmp_path, name, options, exif, turned):
    Image.fromarray(HALVES).save(tmp_path / name, exif=b"Exif\0\0" + exif, **options)
    assert ends(tmp_path / name) == ((0, 200) if turned else (200, 0))


@pytest.mark.parametrize(
    ("extra", "after", "expected"),
    [
        (chunk(b"eXIf", EXIF), b"", (7, 90)),
        (b"", chunk(b"eXIf", EXIF), (7, 90)),
        (chunk(b"eXIf", b"garbage"), b"", (90, 7)),
        (chunk(b"eXIf"), b"", (90, 7)),
        (chunk(b"eXIf", EXIF[:14]), b"", (90, 7)),
        (chunk(b"eXIf", EXIF, damage=1), b"", (90, 7)),
        (chunk(b"pHYs", b"x"), b"", (90, 7)),
        (chunk(b"pHYs", b"x") + chunk(b"eXIf", EXIF), b"", (7, 90)),
        (chunk(b"zTXt", b"a\0\0" + zlib.compress(b"a" * 2_000_000)), b"", (90, 7)),
    ],
)
def test_a_png_with_a_damaged_chunk_that_holds_no_pixels(tmp_path, extra, after, expected):
    assert ends(write_png(tmp_path / "a.png", halves(b"\x5a" * 32, b"\x07" * 32), extra, after=after)) == expected


@pytest.mark.parametrize("place", [25, 60])
def test_a_png_with_damaged_pixels(tmp_path, place):
    path = write_png(tmp_path / "a.png", halves(b"\x5a" * 32, b"\x07" * 32), chunk(b"pHYs", b"x"))
    content = path.read_bytes()
    path.write_bytes(content[:-place])
    with pytest.raises(DatasetError, match=r"expected a readable image, got .*a\.png \([^<]*\); repair or remove"):
        decode(path)
    place = content.index(b"IDAT") + 10
    path.write_bytes(content[:place] + bytes([content[place] ^ 5]) + content[place + 1 :])
    with pytest.raises(DatasetError, match="expected a readable image"):
        decode(path)


def test_what_the_libraries_say_is_kept_back(tmp_path, caplog):
    Image.fromarray(HALVES).save(
        tmp_path / "a.jpg", exif=b"Exif\0\0" + directory((0x0110, 2, 99, b"\xff\xff\xff\xff!"))
    )
    (tmp_path / "b.png").write_bytes(b"no image")
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        with quiet_decoding():
            warnings.warn("from a library", stacklevel=1)
            logging.getLogger("PIL.Image").error("from a library")
            decode_image(str(tmp_path / "a.jpg"))
            with pytest.raises(DatasetError):
                decode_image(str(tmp_path / "b.png"))
        assert not caught
        assert not caplog.records
        warnings.warn("afterwards", stacklevel=1)
    assert len(caught) == 1
    assert logging.getLogger("PIL").level == logging.NOTSET


# Large images.


def test_a_large_jpeg_is_decoded_at_an_eighth(tmp_path):
    Image.new("L", (16320, 12240), 90).save(tmp_path / "a.jpg")
    limit = Image.MAX_IMAGE_PIXELS
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert (decode(tmp_path / "a.jpg", 5) == 90).all()
    assert limit == Image.MAX_IMAGE_PIXELS
    with pytest.raises(
        DatasetError,
        match=r"at most 3 megapixels to decode \(--max-megapixels\), got 3\.121 in .*a\.jpg; .*raise --max-meg",
    ):
        decode(tmp_path / "a.jpg", 3)
    assert limit == Image.MAX_IMAGE_PIXELS


@pytest.mark.parametrize("name", ["a.png", "a.webp", "a.gif", "a.tif", "a.ppm"])
def test_other_kinds_are_limited_by_their_full_size(tmp_path, name):
    write_image(tmp_path / name, 90, "L", size=(1000, 1000))
    assert np.abs(decode(tmp_path / name, 1.0).astype(int) - 90).max() <= 2
    for limit in (0.999, 0.4):
        with pytest.raises(DatasetError, match=rf"at most {limit} megapixels .*--max-megapixels\), got 1 in .*{name}"):
            decode(tmp_path / name, limit)


# Pixels of more than 8 bits, and transparent colours.


def write_tiff(path: Path, pixels: np.ndarray, signed: bool = False, *extra: tuple[int, int, int, bytes]) -> Path:
    height, width = pixels.shape
    bits = 8 * pixels.itemsize
    sizes = [(256, width), (257, height), (278, height), (279, pixels.nbytes)]
    kinds = [(258, bits), (259, 1), (262, 1), (277, 1), (339, 2 if signed else 1)]
    entries = [(tag, 4, 1, struct.pack(">I", value)) for tag, value in sizes]
    entries += [(tag, 3, 1, struct.pack(">H", value)) for tag, value in kinds]
    head = directory(*entries, (273, 4, 1, b"HERE"), *extra)
    path.write_bytes(head.replace(b"HERE", struct.pack(">I", len(head))) + pixels.tobytes())
    return path


STEPS = np.repeat([200 * 257, 0], 16)[:, None].repeat(32, 1)


def test_16_bits(tmp_path):
    assert ends(write_tiff(tmp_path / "a.tif", STEPS.astype(">u2"))) == (200, 0)
    assert ends(write_tiff(tmp_path / "a.tif", (STEPS // 2).astype(">i2"), True)) == (100, 0)
    odd = write_tiff(tmp_path / "a.tif", STEPS.astype(">u2"), False, UPSIDE_DOWN, TEXT_RESOLUTION)
    assert ends(odd) == (0, 200)
    (tmp_path / "a.pgm").write_bytes(b"P5 32 32 65535\n" + STEPS.astype(">u2").tobytes())
    assert ends(tmp_path / "a.pgm") == (200, 0)
    (tmp_path / "a.pgm").write_bytes(b"P5 32 32 1000\n" + (STEPS // 257 * 5).astype(">u2").tobytes())
    assert ends(tmp_path / "a.pgm") == (255, 0)
    Image.fromarray(STEPS.astype(np.uint16)).save(tmp_path / "a.tif", tiffinfo={262: 0})  # white is zero
    assert ends(tmp_path / "a.tif") == (55, 255)


@pytest.mark.parametrize(
    ("pixels", "signed", "got"),
    [
        (STEPS.astype(">i4"), True, "integers of 32 bits"),
        (STEPS.astype(">i2") - 9, True, "negative pixels"),
        (np.full((32, 32), 2**31 - 1, ">i4"), True, "integers of 32 bits"),
    ],
)
def test_other_integers_are_refused(tmp_path, pixels, signed, got):
    path = write_tiff(tmp_path / "a.tif", pixels, signed)
    with pytest.raises(
        DatasetError, match=rf"expected an image of 8 or 16 bits, got .*a\.tif with {got}; convert it to 8 or"
    ):
        decode(path)


@pytest.mark.parametrize(("mode", "got"), [("I", "integers of 32 bits"), ("F", "floating-point pixels")])
def test_tiffs_of_pillow_with_32_bits_are_refused(tmp_path, mode, got):
    write_image(tmp_path / "a.tif", 7, mode)
    with pytest.raises(DatasetError, match=rf"a\.tif with {got}; convert it to 8 or 16 bits"):
        decode(tmp_path / "a.tif")


@pytest.mark.parametrize(
    ("bits", "colours", "above", "below", "key", "expected"),
    [
        (16, 0, b"\xc8\xc8" * 32, b"\x00\x07" * 32, b"\x00\x07", 200),
        (8, 0, b"\x5a" * 32, b"\x07" * 32, b"\x00\x07", 90),
        (4, 0, b"\x55" * 16, b"\x77" * 16, b"\x00\x07", 85),
        (2, 0, b"\x55" * 8, b"\xaa" * 8, b"\x00\x02", 85),
        (1, 0, b"\x00" * 4, b"\xff" * 4, b"\x00\x01", 0),
        (8, 2, b"\x5a" * 96, b"\x07" * 96, b"\x00\x07" * 3, 90),
        (16, 2, b"\xc8\xc8" * 96, b"\x07\x03" * 96, b"\x07\x03" * 3, 200),
    ],
)
def test_a_transparent_colour_becomes_white(tmp_path, bits, colours, above, below, key, expected):
    path = write_png(tmp_path / "a.png", halves(above, below), chunk(b"tRNS", key), bits=bits, colours=colours)
    assert ends(path) == (expected, 255)


# Which files are images.


def test_suffixes_of_pictures_and_of_nothing_else():
    assert image_suffixes() >= {
        ".jpg",
        ".jfif",
        ".jpe",
        ".mpo",
        ".png",
        ".gif",
        ".bmp",
        ".tif",
        ".tiff",
        ".pgm",
        ".tga",
    }
    assert not image_suffixes() & {
        ".eps",
        ".ps",
        ".pdf",
        ".mpg",
        ".mpeg",
        ".fli",
        ".flc",
        ".h5",
        ".hdf",
        ".grib",
        ".wmf",
    }
    for codec, suffix in (("avif", ".avif"), ("jpg_2000", ".jp2"), ("webp", ".webp")):
        assert (suffix in image_suffixes()) == bool(features.check(codec))


@pytest.mark.parametrize(
    "suffix", ["avif", "jp2", "jfif", "jpe", "mpo", "tga", "ico", "qoi", "pcx", "sgi", "dds", "im"]
)
def test_less_common_kinds(tmp_path, suffix):
    if f".{suffix}" not in image_suffixes():
        pytest.skip(f"this Pillow does not decode {suffix}")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Pillow means to drop a kind some day
        Image.fromarray(HALVES.repeat(2, 0).repeat(2, 1)).save(tmp_path / f"a.{suffix}")
    pixels = decode(tmp_path / f"a.{suffix}").astype(int)
    assert np.abs(pixels[:10] - 200).max() <= 6
    assert np.abs(pixels[-10:]).max() <= 6


def test_a_page_under_the_name_of_a_picture_runs_no_other_program(tmp_path):
    (tmp_path / "a.png").write_bytes(b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 32 32\n%%EndComments\n")
    with pytest.raises(DatasetError, match="cannot identify"):
        decode(tmp_path / "a.png")


def test_decoder_versions():
    versions = decoder_versions()
    assert versions["pillow"] == Image.__version__
    assert "libjpeg_turbo" in versions or "jpg" in versions
    assert "zlib" in versions
    assert all(isinstance(version, str) and version for version in versions.values())
