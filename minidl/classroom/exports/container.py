"""``grade --container``: grades submissions in a container that has no network."""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from minidl.classroom.course import Course
from minidl.classroom.exports.export import Wish, grader_files, write_files
from minidl.classroom.grade import results_folder
from minidl.engine.checks import require


def grade_in_container(course: Course, asked: argparse.Namespace) -> int:
    """Build the image and grade in a container. The results are in the same folder as without a container.

    Raises FileNotFoundError if docker, bash or a named file is missing.
    """
    for program in ("docker", "bash"):
        message = f"--container calls {program}, which is not installed here"
        require(shutil.which(program) is not None, message, FileNotFoundError)
    words, mounts = ["grade"], []
    for name, path in (("folder", asked.folder), ("roster", asked.roster), ("laws", asked.laws)):
        if path is not None:
            require(path.exists(), f"{path} is not there", FileNotFoundError)
            mounts += ["--read", str(path), inside(path)]
            words += [inside(path)] if name == "folder" else [f"--{name}", inside(path)]
    out = results_folder(asked)
    mounts += ["--write", str(out), inside(out)]
    words += ["--out", inside(out), "--jobs", str(asked.jobs), "--limit", str(asked.limit)]
    for name in ("lesson", "seed", "pattern"):
        if getattr(asked, name) is not None:
            words += [f"--{name}", str(getattr(asked, name))]
    words += ["--partial"] * asked.partial
    with tempfile.TemporaryDirectory() as folder:
        write_files(Path(folder), grader_files(Wish(course, "")))
        script = Path(folder) / "in_container.sh"
        command = ["python", "-m", "minidl.classroom.exports.services", *words]
        sys.stdout.flush()
        return subprocess.run(["bash", str(script), *mounts, *command]).returncode


def inside(path: Path) -> str:
    """A file's path in the container: its relative path, or its name if it is not in the current folder."""
    relative = Path(os.path.relpath(path))
    return relative.as_posix() if relative.parts[:1] not in ((), ("..",)) else path.resolve().name
