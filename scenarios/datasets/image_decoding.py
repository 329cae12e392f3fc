"""Decode one picture of any common kind as 32 x 32 RGB."""

import io
import logging
import re
import struct
import warnings
import zlib
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import UInt8

from agent.errors import DatasetError

if TYPE_CHECKING:
    from PIL import Image, ImageFile

IMAGE_SIZE = 32
MAX_MEGAPIXELS = 180.0
"""The default limit of the pixels decoded for one image; about what Pillow refuses to open."""

_OPTIONAL = {"AVIF": "avif", "JPEG": "jpg", "JPEG2000": "jpg_2000", "PNG": "zlib", "WEBP": "webp"}  # may be left out
_NO_PICTURES = frozenset({"EPS", "FLI", "MPEG", "PDF"})  # pages, which run another program, and films
_CODECS = ("avif", "jpg_2000", "libjpeg_turbo", "libtiff", "webp", "zlib")
_JPEG = b"\xff\xd8\xff"
_PNG = b"\x89PNG\r\n\x1a\n"
_BITS_PER_SAMPLE, _PHOTOMETRIC, _ORIENTATION = 258, 262, 274  # tags of TIFF 6.0, section 8


@cache
def image_formats() -> tuple[str, ...]:
    """The raster formats that Pillow decodes here, by Pillow's names and in the order in which it tries them."""
    from PIL import Image, ImageFile, features

    def decodes(name: str) -> bool:
        opener: Any = Image.OPEN[name][0]
        stub = isinstance(opener, type) and issubclass(opener, ImageFile.StubImageFile)
        return (
            not stub and name not in _NO_PICTURES and (name not in _OPTIONAL or bool(features.check(_OPTIONAL[name])))
        )

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # a codec that this Pillow does not know of
        Image.init()
        return tuple(name for name in Image.ID if name in Image.OPEN and decodes(name))


@cache
def image_suffixes() -> frozenset[str]:
    """How the names of images end that can be decoded here, in lower case."""
    from PIL import Image

    formats = set(image_formats())
    if "JPEG" in formats:
        formats.add("MPO")  # a JPEG file that holds further pictures; it has no opener of its own
    return frozenset(suffix.lower() for suffix, name in Image.registered_extensions().items() if name in formats)


def decoder_versions() -> dict[str, str]:
    """The versions of Pillow and of its codecs, which decide the pixels of an image; missing codecs are left out."""
    import PIL
    from PIL import features

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # a codec that this Pillow does not know of
        found = {name: features.version(name) for name in _CODECS}
        if found["libjpeg_turbo"] is None:
            found["jpg"] = features.version("jpg")
    return {"pillow": PIL.__version__} | {name: str(version) for name, version in sorted(found.items()) if version}


@contextmanager
def quiet_decoding(max_megapixels: float = MAX_MEGAPIXELS) -> Iterator[None]:
    """Silence the warnings of the libraries, and let Pillow read images of up to `max_megapixels`.

    Both hold for the whole process: enter this in one thread, around all the threads that decode.
    """
    from PIL import Image

    logger = logging.getLogger("PIL")
    limit, level = Image.MAX_IMAGE_PIXELS, logger.level
    image_formats()  # loads Pillow's plugins, before threads would
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        logger.setLevel(logging.CRITICAL + 1)
        Image.MAX_IMAGE_PIXELS = int(max_megapixels * 5e5) + 1  # Pillow refuses what has more than twice as many
        try:
            yield
        finally:
            Image.MAX_IMAGE_PIXELS = limit
            logger.setLevel(level)


def decode_image(path: str, max_megapixels: float = MAX_MEGAPIXELS) -> UInt8[np.ndarray, "32 32 3"]:
    """One image upright, over white, resized to a shorter side of 32 pixels and cut to its middle.

    Call it inside `quiet_decoding`. A large JPEG is decoded at a half, a quarter or an eighth of its size;
    `max_megapixels` limits the pixels that are really decoded. EXIF data that cannot be read is passed over, and so are
    a PNG's damaged chunks that hold no pixels.

    Raises:
        DatasetError: the file is not a whole image of a kind that Pillow reads, it is too large, or its pixels are
            floating-point numbers or integers of 32 bits.
    """
    from PIL import Image

    try:
        try:
            with _open(path) as image:
                return _decode(image, path, max_megapixels)
        except (DatasetError, Image.DecompressionBombError):
            raise
        except Exception:
            if bare := _png_of_pixels(path):
                with suppress(OSError, SyntaxError, ValueError), Image.open(bare, formats=["PNG"]) as image:
                    return _decode(image, path, max_megapixels)
            raise
    except DatasetError:
        raise
    except Image.DecompressionBombError as error:
        pixels = re.search(r"\d+", str(error))
        raise _too_large(path, int(pixels[0]) / 1e6 if pixels else None, max_megapixels) from error
    except Exception as error:  # Pillow's many parsers raise whatever a broken file makes them stumble over
        got = " ".join(str(error).split()) or type(error).__name__
        raise DatasetError(
            f"expected a readable image, got {path} ({got}); repair or remove the file, or save it as PNG or JPEG"
        ) from error


def _open(path: str) -> "ImageFile.ImageFile":
    from PIL import Image, JpegImagePlugin

    with Path(path).open("rb") as stream:
        is_jpeg = stream.read(len(_JPEG)) == _JPEG
    if is_jpeg:  # Image.open would refuse a large one before it can be told to decode it at an eighth of its size
        return JpegImagePlugin.JpegImageFile(path)
    return Image.open(path, formats=image_formats())


def _decode(image: "ImageFile.ImageFile", path: str, max_megapixels: float) -> UInt8[np.ndarray, "32 32 3"]:
    from PIL import Image, ImageOps

    image.draft(None, (4 * IMAGE_SIZE, 4 * IMAGE_SIZE))  # a JPEG may be reduced to four times the target
    megapixels = image.width * image.height / 1e6
    if megapixels > max_megapixels:
        raise _too_large(path, megapixels, max_megapixels)
    _scale_transparent_key(image)
    image.load()
    orientation = _orientation(image)
    rgb = _to_rgb(image, path)
    turned = {
        2: Image.Transpose.FLIP_LEFT_RIGHT,
        3: Image.Transpose.ROTATE_180,
        4: Image.Transpose.FLIP_TOP_BOTTOM,
        5: Image.Transpose.TRANSPOSE,
        6: Image.Transpose.ROTATE_270,
        7: Image.Transpose.TRANSVERSE,
        8: Image.Transpose.ROTATE_90,
    }.get(orientation)
    if turned is not None:
        rgb = rgb.transpose(turned)
    if rgb.size != (IMAGE_SIZE, IMAGE_SIZE):
        rgb = ImageOps.fit(rgb, (IMAGE_SIZE, IMAGE_SIZE), Image.Resampling.LANCZOS)
    return np.asarray(rgb)


def _too_large(path: str, megapixels: float | None, max_megapixels: float) -> DatasetError:
    got = "more" if megapixels is None else f"{megapixels:.4g}"
    return DatasetError(
        f"expected images of at most {max_megapixels:g} megapixels to decode (--max-megapixels), got {got} in {path}; "
        "make the image smaller or raise --max-megapixels"
    )


def _orientation(image: "Image.Image") -> int:
    """The EXIF orientation, 1 (upright) to 8; 1 where the EXIF data is damaged.

    Pillow's own `exif_transpose` writes the EXIF data anew, and fails where another tag of it is odd.
    """
    try:
        value = image.getexif().get(_ORIENTATION)
    except Exception:  # as for the image itself: Pillow's parsers raise many kinds
        return 1
    return value if isinstance(value, int) and 1 <= value <= 8 else 1


def _to_rgb(image: "Image.Image", path: str) -> "Image.Image":
    from PIL import Image

    if image.mode.startswith("I"):
        return Image.fromarray(_grey(image, path)).convert("RGB")
    if image.mode == "F":
        raise _odd_pixels(path, "floating-point pixels")
    if "transparency" in image.info or image.mode in ("RGBA", "LA", "PA", "RGBa", "La"):
        opaque = Image.new("RGBA", image.size, "white")
        return Image.alpha_composite(opaque, image.convert("RGBA")).convert("RGB")
    return image.convert("RGB")


def _grey(image: "Image.Image", path: str) -> UInt8[np.ndarray, "height width"]:
    """8 bits from 16, where Pillow's own conversion clips at 255."""
    tags = getattr(image, "tag_v2", {})  # of a TIFF
    bits = tags.get(_BITS_PER_SAMPLE, (16,))[0]
    # Pillow's mode "I" has 32 bits. It stands for 16 in these three formats; a PGM is scaled to 16 bits.
    if image.mode == "I" and (bits > 16 or image.format not in ("PNG", "PPM", "TIFF")):
        raise _odd_pixels(path, "integers of 32 bits")
    pixels = np.asarray(image)
    if pixels.size and pixels.min() < 0:
        raise _odd_pixels(path, "negative pixels")
    maximum = (1 << bits) - 1
    grey = (pixels.astype(np.float32) / (maximum / 255)).round().clip(0, 255).astype(np.uint8)
    if tags.get(_PHOTOMETRIC) == 0:  # white is zero, which Pillow heeds for 8 bits alone
        grey = 255 - grey
    key = image.info.get("transparency")
    if isinstance(key, int):
        grey[pixels == key] = 255
    return grey


def _odd_pixels(path: str, got: str) -> DatasetError:
    return DatasetError(
        f"expected an image of 8 or 16 bits, got {path} with {got}; convert it to 8 or 16 bits or remove the file"
    )


def _scale_transparent_key(image: "ImageFile.ImageFile") -> None:
    """Scale the transparent colour of a PNG to 8 bits: Pillow scales the pixels, but not this colour."""
    key = image.info.get("transparency")
    if key is None or image.format != "PNG" or not image.tile:
        return
    rawmode = image.tile[0][3]
    if rawmode in ("L;2", "L;4"):
        image.info["transparency"] = key * (85 if rawmode == "L;2" else 17)
    elif rawmode == "RGB;16B":
        image.info["transparency"] = tuple(value >> 8 for value in key)  # the lower bits of the pixels are gone


def _png_of_pixels(path: str) -> io.BytesIO | None:
    """A PNG file without the chunks that do not decide its pixels; None for a file of another kind.

    Pillow refuses the whole file if one of them is damaged.
    """
    content = Path(path).read_bytes()
    if not content.startswith(_PNG):
        return None
    kept, start = [_PNG], len(_PNG)
    while start + 8 <= len(content):
        length, kind = struct.unpack_from(">I4s", content, start)
        stop = start + length + 12
        sound = struct.pack(">I", zlib.crc32(content[start + 4 : stop - 4])) == content[stop - 4 : stop]
        critical = not kind[0] & 32  # PNG specification, section 5.4: an upper case letter
        if critical or (sound and kind in (b"tRNS", b"eXIf")):
            kept.append(content[start:stop])
        start = stop
    return io.BytesIO(b"".join(kept))
