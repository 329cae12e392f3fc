"""Small images for tests."""

from pathlib import Path

from PIL import Image


def write_image(path: Path, value: object = 0, mode: str = "RGB", size: tuple[int, int] = (32, 32)) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new(mode, size, value).save(path)


def write_tree(root: Path, per_class: dict[str, int], *, first: int = 0) -> Path:
    """PNGs of one colour each: no two of the same colour, and numbered from `first`."""
    number = first
    for name, n in per_class.items():
        (root / name).mkdir(parents=True, exist_ok=True)
        for i in range(n):
            write_image(root / name / f"{i:04}.png", (number % 256, number // 256, 77))
            number += 1
    return root
