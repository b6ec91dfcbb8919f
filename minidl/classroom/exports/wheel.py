"""Writes a wheel of the imported minidl, without build tools and without a network."""

from __future__ import annotations

import base64
import hashlib
import zipfile
from importlib.metadata import distribution
from pathlib import Path

import minidl
from minidl.engine.checks import require

LEFT_OUT = ("__pycache__", ".egg-info", ".dist-info")
WHEEL = "Wheel-Version: 1.0\nGenerator: minidl\nRoot-Is-Purelib: true\nTag: py3-none-any\n"


def write_wheel(folder: Path) -> Path:
    """Write minidl-VERSION-py3-none-any.whl into the folder, with modules, data, licences and requirements.

    The same files always give the same bytes.
    Raises PackageNotFoundError if pip has not installed minidl, ValueError if pip installed another version.
    """
    package, installed = Path(minidl.__file__).parent, distribution("minidl")
    other = (
        f"pip installed minidl {installed.version}, but this is {minidl.__version__}: call  pip install -e ."
    )
    require(installed.version == minidl.__version__, other)
    name = f"minidl-{minidl.__version__}"
    files = {
        path.relative_to(package.parent).as_posix(): path.read_bytes()
        for path in sorted(package.rglob("*"))
        if path.is_file() and not any(part.endswith(LEFT_OUT) for part in path.parts)
    }
    files[f"{name}.dist-info/METADATA"] = str(installed.metadata).encode()
    files[f"{name}.dist-info/WHEEL"] = WHEEL.encode()
    record = f"{name}.dist-info/RECORD"
    lines = [f"{path},sha256={hash_of(content)},{len(content)}" for path, content in files.items()]
    files[record] = "\n".join([*lines, f"{record},,", ""]).encode()
    wheel = folder / f"{name}-py3-none-any.whl"
    write_zip(wheel, files)
    return wheel


def hash_of(content: bytes) -> str:
    """The hash in the form of a wheel's RECORD: urlsafe base64 without padding."""
    return base64.urlsafe_b64encode(hashlib.sha256(content).digest()).decode().rstrip("=")


def write_zip(path: Path, files: dict[str, bytes], executable: tuple[str, ...] = ()) -> None:
    """Write a zip archive. ``files`` maps paths in the archive to contents; ``executable`` names programs."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in files.items():
            entry = zipfile.ZipInfo(name, date_time=(2020, 1, 1, 0, 0, 0))
            entry.compress_type = zipfile.ZIP_DEFLATED
            entry.external_attr = (0o100755 if name in executable else 0o100644) << 16
            archive.writestr(entry, content)
