"""What scripts and other locales see."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image

from scenarios.config.presets import from_toml
from tests.scenarios.commands import LIFETIME, TINY, assert_refused, lifetime
from tests.scenarios.datasets.test_load import write_tree

C_LOCALE = {**os.environ, "LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
ROOT = Path(__file__).parents[3]


@pytest.fixture
def photos(tmp_path):
    """Sound pictures that libraries warn of: EXIF data that end too early, and more pixels than Pillow likes."""
    root = write_tree(tmp_path / "photos", {"cat": 25, "dog": 25})
    exif = b"Exif\x00\x00II*\x00\x08\x00\x00\x00\x02\x00\x0f\x01\x02\x00\xff\xff\x00\x00\xff\xff\x00\x00"
    Image.new("RGB", (40, 40), "red").save(root / "cat" / "exif.jpg", exif=exif)
    Image.new("1", (12_000, 9_000)).save(root / "dog" / "large.png")
    (root / "dog" / "notes.txt").write_text("no image", encoding="utf-8")
    return root


@pytest.mark.slow
@pytest.mark.parametrize("how", ["--quiet", "--json"])
def test_no_library_speaks_on_a_clean_run(photos, tmp_path, how):
    command = [
        LIFETIME,
        "simulate",
        *TINY,
        "--train-size",
        "20",
        "--validation-size",
        "5",
        "--test-size",
        "5",
        "--chunks",
    ]
    command += ["4", "--dataset", f"folder:{photos}", "--runs", tmp_path, "--data-dir", tmp_path / "cache", how]
    done = subprocess.run([*map(str, command)], capture_output=True, text=True, timeout=180)
    assert (done.returncode, done.stderr) == (0, "")
    if how == "--json":
        json.loads(done.stdout, parse_constant=lambda name: pytest.fail(f"{name} is no JSON"))
    else:
        assert done.stdout == ""


@pytest.mark.slow
def test_what_was_passed_over_is_told_once(photos, tmp_path):
    options = ("--dataset", f"folder:{photos}", "--runs", tmp_path, "--data-dir", tmp_path / "cache")
    sizes = ("--train-size", 20, "--validation-size", 5, "--test-size", 5, "--chunks", 4, "--seeds", 2)
    done = lifetime("compare", *TINY, *sizes, "--policies", "static:k=50", *options)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.told == (
        "data: 2 classes (cat, dog), 20 training, 5 validation and 5 test images\n",
        "data: skipped 1 file that is not a readable image: .txt (1)\n",
    )


@pytest.mark.parametrize("mark", [b"", b"\xef\xbb\xbf"], ids=["plain", "byte-order mark"])
def test_toml_is_utf_8_in_every_locale(tmp_path, mark):
    path = tmp_path / "settings.toml"
    path.write_bytes(mark + "# θ, ünïcode\nconfidence = 0.125\r\nseeds = 2\n".encode())
    assert from_toml(path) == {"confidence": 0.125, "seeds": 2}
    code = (
        f"from scenarios.config.presets import from_toml; print(from_toml(__import__('pathlib').Path({str(path)!r})))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=C_LOCALE, cwd=ROOT)
    assert (done.stdout, done.stderr) == ("{'confidence': 0.125, 'seeds': 2}\n", "")


def test_every_text_file_is_opened_with_its_encoding_named():
    ruff = [Path(sys.executable).parent / "ruff", "check", "--preview", "--select", "PLW1514", "agent", "scenarios"]
    done = subprocess.run([*map(str, ruff)], capture_output=True, text=True, cwd=ROOT)
    assert done.returncode == 0, done.stdout


@pytest.mark.slow
def test_a_life_in_a_c_locale(tmp_path):
    root = write_tree(tmp_path / "photos", {"chat": 12, "chien é": 12})
    options = ("--runs", tmp_path / "runs", "--data-dir", tmp_path / "cache", "--dataset", f"folder:{root}")
    sizes = ("--train-size", 12, "--validation-size", 4, "--test-size", 4, "--chunks", 3)
    for _ in range(2):
        done = lifetime("simulate", *TINY, *sizes, *options, env=C_LOCALE)
        assert (done.returncode, done.stderr) == (0, ""), done
    refused = lifetime("simulate", *TINY, "--runs", tmp_path / "läufe", env=C_LOCALE)
    assert_refused(refused, "expected a folder whose path this locale can spell")
