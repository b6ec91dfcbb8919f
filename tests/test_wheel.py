"""What pip installs is minidl with its data, and nothing else."""

import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest

ROOT = Path(__file__).parents[1]
DATA = (
    "classroom/exports/Dockerfile",
    "classroom/exports/run_autograder",
    "classroom/exports/setup.sh",
    "classroom/exports/classroom.yml",
    "data/digits.npz",
    "data/mnist.npz",
    "data/NOTICE.txt",
    "data/LICENSE.CC-BY-4.0.txt",
    "data/LICENSE.CC-BY-SA-3.0.txt",
    "nn/efficientnet_lite0.npz",
    "nn/imagenet_names.txt",
    "nn/NOTICE.txt",
    "nn/LICENSE.Apache-2.0.txt",
)


def pip(*arguments):
    command = [sys.executable, "-m", "pip", "--disable-pip-version-check", "--no-input", *map(str, arguments)]
    subprocess.run(command, check=True, capture_output=True, text=True)


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    pytest.importorskip("setuptools")
    folder = tmp_path_factory.mktemp("wheel")
    source = folder / "source"  # the build writes next to the sources
    shutil.copytree(ROOT / "minidl", source / "minidl", ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("setup.cfg", "pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, source)
    pip("wheel", "--no-deps", "--no-index", "--no-build-isolation", "--wheel-dir", folder, source)
    (built,) = folder.glob("*.whl")
    return built


def test_a_script_beside_a_clone_in_a_folder_named_minidl_finds_the_package(tmp_path):
    """Such a folder has no __init__.py, so an import takes it for a namespace unless a path comes first."""
    pytest.importorskip("setuptools")
    clone = tmp_path / "beside" / "minidl"
    shutil.copytree(ROOT / "minidl", clone / "minidl", ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("setup.cfg", "pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, clone)
    options = "--no-deps", "--no-index", "--no-build-isolation", "--ignore-installed"
    pip("install", *options, "--prefix", tmp_path / "environment", "--editable", clone)
    (site,) = (tmp_path / "environment").rglob("site-packages")
    script = clone.parent / "script.py"
    numpy_folder = str(Path(np.__file__).parents[1])
    script.write_text(
        f"import site, sys\nsys.path.append({numpy_folder!r})\nsite.addsitedir({str(site)!r})\n"
        "import minidl\nprint(minidl.__file__)"
    )
    command = [sys.executable, "-S", str(script)]  # -S: without the packages of this environment
    run = subprocess.run(command, cwd=clone.parent, capture_output=True, text=True, check=True)
    assert Path(run.stdout.strip()) == clone / "minidl" / "__init__.py"


def test_the_wheel_holds_every_module_and_the_data_files(wheel):
    packed = set(zipfile.ZipFile(wheel).namelist())
    wanted = {path.relative_to(ROOT).as_posix() for path in (ROOT / "minidl").rglob("*.py")}
    wanted |= {"minidl/py.typed", *(f"minidl/{name}" for name in DATA)}
    assert wanted <= packed
    assert not [name for name in packed if name.startswith(("tests", "lessons"))]


def test_the_wheel_is_small_and_holds_no_photograph(wheel):
    assert wheel.stat().st_size <= 9_500_000
    assert not [name for name in zipfile.ZipFile(wheel).namelist() if name.endswith((".webp", ".png"))]


def test_the_wheel_states_the_licences_of_its_data_and_its_packages(wheel):
    archive = zipfile.ZipFile(wheel)
    (name,) = (name for name in archive.namelist() if name.endswith(".dist-info/METADATA"))
    metadata = archive.read(name).decode()
    assert "MIT AND Apache-2.0 AND CC-BY-4.0 AND CC-BY-SA-3.0" in metadata
    assert "Requires-Dist: pillow" in metadata
    assert metadata.count("License-File:") == 6


def test_an_installed_wheel_loads_the_digits(wheel, tmp_path):
    pip("install", "--no-deps", "--no-index", "--target", tmp_path / "site", wheel)
    program = (
        "import sys; sys.path.insert(0, 'site'); import minidl; "
        "from minidl.data import load_digits, load_mnist; "
        "from minidl.nn.models import imagenet_names, imagenet_network; "
        "parts = len(load_digits()[0][0]), len(load_mnist()[0][0]), len(imagenet_names()); "
        "print(minidl.__file__, *parts, imagenet_network().training)"
    )
    run = subprocess.run([sys.executable, "-c", program], cwd=tmp_path, capture_output=True, text=True)
    where, *found = run.stdout.split()
    assert Path(where).is_relative_to(tmp_path / "site") or where.startswith("site")
    assert found == ["1437", "5000", "1000", "False"]
