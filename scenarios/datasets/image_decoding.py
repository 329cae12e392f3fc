"""Decode one image of any common format to square RGB pixels."""

import io
import logging
import math
import re
import struct
import warnings
import zlib
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import PIL
from jaxtyping import UInt8
from PIL import Image, ImageFile, ImageOps, JpegImagePlugin, features

from agent.errors import DatasetError

IMAGE_SIZE = 32
"""The default side of images, in pixels."""
MAX_MEGAPIXELS = 180.0
"""The default limit of pixels, in millions, to decode for one image; about the limit of Pillow."""

_OPTIONAL = {"AVIF": "avif", "JPEG": "jpg", "JPEG2000": "jpg_2000", "PNG": "zlib", "WEBP": "webp"}
"""The codecs that a build of Pillow may lack, by format."""
_NO_IMAGES = frozenset({"EPS", "FLI", "MPEG", "PDF"})
"""Document formats, which run another program, and video formats."""
_CODECS = ("avif", "jpg_2000", "libjpeg_turbo", "libtiff", "webp", "zlib")
_JPEG = b"\xff\xd8\xff"
_PNG = b"\x89PNG\r\n\x1a\n"
_BITS_PER_SAMPLE, _PHOTOMETRIC, _ORIENTATION = 258, 262, 274  # tags of TIFF 6.0, section 8


@cache
def image_formats() -> tuple[str, ...]:
    """The names of the raster formats that this Pillow decodes, in the order in which it tries them."""

    def decodes(name: str) -> bool:
        opener: Any = Image.OPEN[name][0]
        stub = isinstance(opener, type) and issubclass(opener, ImageFile.StubImageFile)
        available = name not in _OPTIONAL or bool(features.check(_OPTIONAL[name]))
        return not stub and available and name not in _NO_IMAGES

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # this Pillow may not know a codec
        Image.init()
        return tuple(name for name in Image.ID if name in Image.OPEN and decodes(name))


@cache
def image_suffixes() -> frozenset[str]:
    """The file suffixes of `image_formats`, in lower case and with the dot."""
    formats = set(image_formats())
    if "JPEG" in formats:
        formats.add("MPO")  # a JPEG file with several images, which Pillow opens as JPEG
    return frozenset(suffix.lower() for suffix, name in Image.registered_extensions().items() if name in formats)


def decoder_versions() -> dict[str, str]:
    """The versions of Pillow and of the codecs that it has; the pixels of a decoded image depend on them."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # this Pillow may not know a codec
        found = {name: features.version(name) for name in _CODECS}
        if found["libjpeg_turbo"] is None:
            found["jpg"] = features.version("jpg")
    return {"pillow": PIL.__version__} | {name: str(version) for name, version in sorted(found.items()) if version}


@contextmanager
def quiet_decoding(max_megapixels: float = MAX_MEGAPIXELS) -> Iterator[None]:
    """Silence warnings, and let Pillow read images of up to `max_megapixels`.

    Both apply to the whole process, so enter this context in one thread, around all threads that decode.
    """
    logger = logging.getLogger("PIL")
    limit, level = Image.MAX_IMAGE_PIXELS, logger.level
    image_formats()  # loads Pillow's plugins before the threads start
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        logger.setLevel(logging.CRITICAL + 1)
        # Pillow refuses what has more than twice as many.
        Image.MAX_IMAGE_PIXELS = int(max_megapixels * 5e5) + 1 if math.isfinite(max_megapixels) else None
        try:
            yield
        finally:
            Image.MAX_IMAGE_PIXELS = limit
            logger.setLevel(level)


def decode_image(
    path: str, max_megapixels: float = MAX_MEGAPIXELS, size: int = IMAGE_SIZE
) -> UInt8[np.ndarray, "{size} {size} 3"]:
    """Turn an image upright, put it on white, resize its shorter side to `size` pixels and crop the middle.

    Call this inside `quiet_decoding`. A large JPEG is decoded at a half, a quarter or an eighth of its size;
    `max_megapixels` limits the pixels of this smaller image. Unreadable EXIF data is ignored, and so are damaged chunks
    of a PNG that hold no pixels.

    Raises:
        DatasetError: the file is damaged, too large or not of a format that Pillow decodes, or its pixels are
            floating-point numbers or integers of 32 bits.
    """
    return _decode_from(path, path, max_megapixels, size)


def decode_bytes(
    content: bytes, name: str, max_megapixels: float = MAX_MEGAPIXELS, size: int = IMAGE_SIZE
) -> UInt8[np.ndarray, "{size} {size} 3"]:
    """The same for the content of an image file; `name` says in errors where it is."""
    return _decode_from(io.BytesIO(content), name, max_megapixels, size)


def _decode_from(
    origin: str | io.BytesIO, name: str, max_megapixels: float, size: int
) -> UInt8[np.ndarray, "{size} {size} 3"]:
    try:
        try:
            with _open(origin) as image:
                return _decode(image, name, max_megapixels, size)
        except (DatasetError, Image.DecompressionBombError):
            raise
        except Exception:
            if png := _png_without_metadata(origin):
                with suppress(OSError, SyntaxError, ValueError), Image.open(png, formats=["PNG"]) as image:
                    return _decode(image, name, max_megapixels, size)
            raise
    except DatasetError:
        raise
    except Image.DecompressionBombError as error:
        pixels = re.search(r"\d+", str(error))
        raise _too_large(name, int(pixels[0]) / 1e6 if pixels else None, max_megapixels) from error
    except Exception as error:  # Pillow's parsers raise many types of errors for a damaged file
        got = re.sub(r" <_io\.BytesIO[^>]*>", "", " ".join(str(error).split())) or type(error).__name__
        raise DatasetError(
            f"expected a readable image, got {name} ({got}); repair or remove it, or save it as PNG or JPEG"
        ) from error


def _open(origin: str | io.BytesIO) -> ImageFile.ImageFile:
    if isinstance(origin, str):
        with Path(origin).open("rb") as stream:
            is_jpeg = stream.read(len(_JPEG)) == _JPEG
    else:
        is_jpeg = origin.getbuffer()[: len(_JPEG)] == _JPEG
    if is_jpeg:  # Image.open rejects a large one before `draft` can reduce it
        return JpegImagePlugin.JpegImageFile(origin)
    return Image.open(origin, formats=image_formats())


def _decode(
    image: ImageFile.ImageFile, name: str, max_megapixels: float, size: int
) -> UInt8[np.ndarray, "{size} {size} 3"]:
    image.draft(None, (4 * size, 4 * size))  # reduces a JPEG, to at least four times the target
    megapixels = image.width * image.height / 1e6
    if megapixels > max_megapixels:
        raise _too_large(name, megapixels, max_megapixels)
    _scale_transparent_key(image)
    image.load()
    return square_pixels(image, name, size)


def square_pixels(image: Image.Image, name: str, size: int) -> UInt8[np.ndarray, "{size} {size} 3"]:
    """An image that is loaded, upright and in RGB, its shorter side resized to `size` pixels and its middle cropped.

    Raises:
        DatasetError: its pixels are floating-point numbers or integers of 32 bits; `name` says where it is.
    """
    rgb = _to_rgb(image, name)
    transpose = {
        2: Image.Transpose.FLIP_LEFT_RIGHT,
        3: Image.Transpose.ROTATE_180,
        4: Image.Transpose.FLIP_TOP_BOTTOM,
        5: Image.Transpose.TRANSPOSE,
        6: Image.Transpose.ROTATE_270,
        7: Image.Transpose.TRANSVERSE,
        8: Image.Transpose.ROTATE_90,
    }.get(_orientation(image))
    if transpose is not None:
        rgb = rgb.transpose(transpose)
    return np.asarray(fitted(rgb, size))


def fitted(image: Image.Image, size: int) -> Image.Image:
    """The square in the middle of an image, resized to `size` pixels (Lanczos, with antialiasing)."""
    if image.size == (size, size):
        return image
    return ImageOps.fit(image, (size, size), Image.Resampling.LANCZOS)


def _too_large(path: str, megapixels: float | None, max_megapixels: float) -> DatasetError:
    got = "more" if megapixels is None else f"{megapixels:.4g}"
    return DatasetError(
        f"expected images of at most {max_megapixels:g} megapixels to decode (--max-megapixels), got {got} in {path}; "
        "make the image smaller or raise --max-megapixels"
    )


def _orientation(image: Image.Image) -> int:
    """The EXIF orientation, 1 (upright) to 8; 1 if the EXIF data is damaged.

    Pillow's `exif_transpose` also rewrites the EXIF data, and fails if another tag is invalid.
    """
    try:
        value = image.getexif().get(_ORIENTATION)
    except Exception:  # Pillow's parsers raise many types of errors
        return 1
    return value if isinstance(value, int) and 1 <= value <= 8 else 1


def _to_rgb(image: Image.Image, path: str) -> Image.Image:
    if image.mode.startswith("I"):
        return Image.fromarray(_grey(image, path)).convert("RGB")
    if image.mode == "F":
        raise _unsupported_pixels(path, "floating-point pixels")
    if "transparency" in image.info or image.mode in ("RGBA", "LA", "PA", "RGBa", "La"):
        opaque = Image.new("RGBA", image.size, "white")
        return Image.alpha_composite(opaque, image.convert("RGBA")).convert("RGB")
    return image.convert("RGB")


def _grey(image: Image.Image, path: str) -> UInt8[np.ndarray, "height width"]:
    """Scale 16 bits to 8; Pillow's own conversion clips at 255."""
    tags = getattr(image, "tag_v2", {})  # only a TIFF has them
    bits = tags.get(_BITS_PER_SAMPLE, (16,))[0]
    # Pillow's mode "I" has 32 bits, but these three formats use it for 16 bits; Pillow scales a PGM to 16 bits.
    if image.mode == "I" and (bits > 16 or image.format not in ("PNG", "PPM", "TIFF")):
        raise _unsupported_pixels(path, "integers of 32 bits")
    pixels = np.asarray(image)
    if pixels.size and pixels.min() < 0:
        raise _unsupported_pixels(path, "negative pixels")
    maximum = (1 << bits) - 1
    grey = (pixels.astype(np.float32) / (maximum / 255)).round().clip(0, 255).astype(np.uint8)
    if tags.get(_PHOTOMETRIC) == 0:  # zero is white, which Pillow only handles for 8 bits
        grey = 255 - grey
    key = image.info.get("transparency")
    if isinstance(key, int):
        grey[pixels == key] = 255
    return grey


def _unsupported_pixels(path: str, got: str) -> DatasetError:
    return DatasetError(
        f"expected an image of 8 or 16 bits, got {path} with {got}; convert it to 8 or 16 bits or remove the file"
    )


def _scale_transparent_key(image: ImageFile.ImageFile) -> None:
    """Scale the transparent colour of a PNG to 8 bits, since Pillow only scales the pixels."""
    key = image.info.get("transparency")
    if key is None or image.format != "PNG" or not image.tile:
        return
    rawmode = image.tile[0][3]
    if rawmode in ("L;2", "L;4"):
        image.info["transparency"] = key * (85 if rawmode == "L;2" else 17)
    elif rawmode == "RGB;16B":
        image.info["transparency"] = tuple(value >> 8 for value in key)  # as Pillow drops the lower bits of the pixels


def _png_without_metadata(origin: str | io.BytesIO) -> io.BytesIO | None:
    """A copy of a PNG file with only the chunks that affect its pixels; None for a file of another format.

    Pillow rejects the whole file if any other chunk is damaged.
    """
    content = Path(origin).read_bytes() if isinstance(origin, str) else origin.getvalue()
    if not content.startswith(_PNG):
        return None
    chunks, start = [_PNG], len(_PNG)
    while start + 8 <= len(content):
        length, kind = struct.unpack_from(">I4s", content, start)
        stop = start + length + 12
        intact = struct.pack(">I", zlib.crc32(content[start + 4 : stop - 4])) == content[stop - 4 : stop]
        critical = not kind[0] & 32  # PNG specification, section 5.4: an upper case letter
        if critical or (intact and kind in (b"tRNS", b"eXIf")):
            chunks.append(content[start:stop])
        start = stop
    return io.BytesIO(b"".join(chunks))
