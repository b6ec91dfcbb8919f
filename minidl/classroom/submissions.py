"""Reads submissions into memory: files, folders and zip archives. Archives are never unpacked to disk.

Dangerous parts of a submission give a flag and are not read: links, paths that lead out of an archive, and
files and archives that are too large.
"""

from __future__ import annotations

import csv
import hashlib
import io
import re
import stat
import zipfile
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import IO

from minidl.classroom.cells import text_of_notebook
from minidl.classroom.course import Course
from minidl.classroom.verdicts import lesson_in, lesson_of_name
from minidl.engine.checks import require

ANSWERS = (".py", ".ipynb")  # a notebook's answers are read as one Python file
LARGEST = 2**20  # the limit of bytes for such a file; the longest file of stubs has 2% of this
LARGEST_ARCHIVE = 50 * LARGEST  # the limit for an archive, and for the files of one submission
MOST_FILES = 2000  # in one folder or archive
# files that operating systems add to folders
NOT_SUBMITTED = re.compile(r"\..*|__MACOSX|__pycache__|Thumbs\.db", re.IGNORECASE)


@dataclass
class Submission:
    """The files that one student handed in."""

    source: str  # the name of the entry in the folder; a second call finds the submission by this name
    name: str  # the student's name, found in the entry's name
    files: dict[str, bytes] = field(default_factory=dict)  # file name -> content of the Python file
    flags: list[str] = field(default_factory=list)  # things that a teacher may want to look at, in words
    chosen: str = ""  # the file that is graded; if it is "", ``problem`` says why
    problem: str = ""
    slug: str = ""  # a file name made from the student's name, different for each submission

    @property
    def text(self) -> bytes:
        return self.files.get(self.chosen, b"")

    @property
    def digest(self) -> str:
        """A text that changes if the submission must be checked again."""
        what = "\0".join([self.slug, self.chosen, self.problem]).encode(errors="replace")
        return hashlib.sha256(what + b"\0" + self.text).hexdigest()[:16]

    @property
    def key(self) -> str:
        return f"{self.source}|{self.name}"


# ---- reading


def read_submissions(folder: Path) -> tuple[list[Submission], list[str]]:
    """The submissions, sorted by name, and the names of ignored entries.

    Each Python file, folder and zip archive in the folder is a submission; all other entries are ignored.
    The folder may itself be a zip archive from a service. Then its folders or files are the submissions.
    Raises OSError for a folder that cannot be read, ValueError for a file that is not an archive.
    """
    if folder.is_file():
        return in_one_archive(folder)
    found, ignored = [], []
    for path in sorted(folder.iterdir()):
        kind = path.lstat().st_mode
        is_python, is_zip = path.suffix.lower() in ANSWERS, path.suffix.lower() == ".zip"
        if NOT_SUBMITTED.fullmatch(path.name):
            ignored += [shown(path.name)] if is_python else []
            continue
        one = Submission(shown(path.name), shown(path.stem if is_python or is_zip else path.name))
        if stat.S_ISLNK(kind):
            one.problem = "it is a link, which is not followed"
        elif stat.S_ISDIR(kind):
            read_folder(path, one)
        elif not stat.S_ISREG(kind) or not (is_python or is_zip):
            ignored.append(shown(path.name))
            continue
        elif is_zip:
            read_archive(path.read_bytes() if path.stat().st_size < LARGEST_ARCHIVE else b"", one)
        else:
            add_file(one, path.name, path.stat().st_size, path.open("rb"))
        found.append(one)
        again = sum(other.source.startswith(one.source) for other in found)
        if any(other.source == one.source for other in found[:-1]):  # shown alike, but different
            one.source += f" ({again})"
    return found, ignored


def in_one_archive(path: Path) -> tuple[list[Submission], list[str]]:
    """The archive's top folders, and its files that are in no folder, as submissions.

    A single folder around all of them is skipped.
    """
    whole = Submission(path.name, path.stem)
    read_archive(path.read_bytes(), whole)
    require(not whole.problem or bool(whole.files), f"{path}: {whole.problem}")
    found: dict[str, Submission] = {}
    parts = {name: PurePosixPath(name).parts for name in whole.files}
    around = len({first for first, *_ in parts.values()}) == 1 and all(len(p) > 2 for p in parts.values())
    for name, text in whole.files.items():
        first, *rest = parts[name][around:]
        stem = PurePosixPath(first).stem if first.lower().endswith((".py", ".zip")) else first
        found.setdefault(first, Submission(first, stem)).files["/".join(rest) or first] = text
    return list(found.values()), whole.flags


def read_folder(folder: Path, one: Submission) -> None:
    """Read the Python files in a folder and its subfolders, and those in its zip archives."""
    for count, path in enumerate(walk(folder)):
        if count >= MOST_FILES:
            one.flags.append(f"more than {MOST_FILES} files: the rest was not looked at")
            break
        name, kind = path.relative_to(folder).as_posix(), path.lstat().st_mode
        if stat.S_ISLNK(kind):
            one.flags.append(f"{shown(name)} is a link, which is not followed")
        elif not stat.S_ISREG(kind):
            continue
        elif path.suffix.lower() in ANSWERS:
            add_file(one, name, path.stat().st_size, path.open("rb"))
        elif path.suffix.lower() == ".zip" and path.stat().st_size < LARGEST_ARCHIVE:
            read_archive(path.read_bytes(), one)


def walk(folder: Path) -> Iterator[Path]:
    """All files in a folder and its subfolders. Links are not followed."""
    for path in sorted(folder.iterdir()):
        if NOT_SUBMITTED.fullmatch(path.name):
            continue
        if stat.S_ISDIR(path.lstat().st_mode):
            yield from walk(path)
        else:
            yield path


def read_archive(data: bytes, one: Submission, within: str = "") -> None:
    """Read the Python files of a zip archive and of the archives in it. Do not trust its sizes and names."""
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            members = archive.infolist()
            if len(members) > MOST_FILES:
                one.flags.append(f"more than {MOST_FILES} files in the archive: the rest was not looked at")
            for member in members[:MOST_FILES]:
                read_member(archive, member, one, within)
    except (zipfile.BadZipFile, zipfile.LargeZipFile, NotImplementedError, RuntimeError, OSError, ValueError,
            EOFError) as error:  # fmt: skip
        one.problem = f"its archive cannot be read: {error}"


def read_member(archive: zipfile.ZipFile, member: zipfile.ZipInfo, one: Submission, within: str) -> None:
    name = member.filename.replace("\\", "/")
    parts = PurePosixPath(name).parts
    if ".." in parts or name.startswith("/") or re.match("[A-Za-z]:", name):
        one.flags.append(f"its archive names a file outside of itself: {shown(name)}")
        return
    skipped = any(NOT_SUBMITTED.fullmatch(part) for part in parts)
    if member.is_dir() or not name.lower().endswith((*ANSWERS, ".zip")) or skipped:
        return
    if stat.S_ISLNK(member.external_attr >> 16):
        one.flags.append(f"{shown(name)} is a link, which is not followed")
    elif name.lower().endswith(ANSWERS):
        add_file(one, within + name, member.file_size, archive.open(member))
    elif not within:  # archives are read to a depth of two
        with archive.open(member) as file:
            read_archive(file.read(LARGEST_ARCHIVE), one, f"{name}/")


def add_file(one: Submission, name: str, size: int, file: IO[bytes]) -> None:
    """Read one file. ``size`` is the size in the archive's list, which may be wrong."""
    name = shown(name)
    with file:
        text = file.read(size) if size <= LARGEST else b""
    if size > LARGEST or len(text) + sum(map(len, one.files.values())) > LARGEST_ARCHIVE:
        one.flags.append(f"{name} is larger than {LARGEST // 2**10} KB and was not read")
        return
    if name in one.files:
        one.flags.append(f"there are two files {name}: the first is taken")
    if name.lower().endswith(".ipynb"):
        try:
            text = text_of_notebook(text).encode()
        except ValueError as error:
            one.flags.append(f"{name} is no notebook: {error}")
            return
    one.files.setdefault(name, text)


def shown(name: str) -> str:
    """The name as a text that any file can hold and any terminal can show."""
    name = name.encode("utf-8", "replace").decode()
    return "".join(char if char.isprintable() else "?" for char in name)


# ---- the student's name, and the file to grade


def lesson_of_all(course: Course, submissions: list[Submission]) -> str:
    """The lesson with the most files. Raises ValueError if no file names a lesson, or if two lessons tie."""
    said = Counter(
        lesson_in(course, text.decode(errors="replace"), PurePosixPath(name).stem)
        for one in submissions
        for name, text in one.files.items()
    )
    said.pop("", None)
    require(bool(said), "no file names its lesson: choose the lesson with --lesson NN")
    most = sorted(number for number, count in said.items() if count == max(said.values()))
    require(len(most) == 1, f"lessons {' and '.join(most)} have equally many files: choose with --lesson NN")
    return most[0]


def choose_file(course: Course, lesson: str, one: Submission) -> None:
    """Choose the submission's file for the lesson. If there is only one file, its lesson does not matter."""
    if one.problem:
        return
    said = {name: lesson_in(course, text.decode(errors="replace"), PurePosixPath(name).stem)
            for name, text in one.files.items()}  # fmt: skip
    of_it = [name for name in said if said[name] == lesson] or (list(said) if len(said) == 1 else [])
    if not of_it:
        one.problem = "there is no Python file"
        if said:
            one.problem = f"none of its files says that it is of lesson {lesson}: {', '.join(said)}"
        return
    one.chosen = min(of_it, key=lambda name: (name.count("/"), name))
    others = ", ".join(name for name in of_it if name != one.chosen)
    if others:
        one.flags.append(f"several files of lesson {lesson}: {one.chosen} is graded, not {others}")
    if said[one.chosen] not in (lesson, ""):
        one.flags.append(f"it says that it is of lesson {said[one.chosen]}")
    if (named := lesson_of_name(course, PurePosixPath(one.chosen).stem)) not in (said[one.chosen], ""):
        one.flags.append(f"its name is that of lesson {named}, its text that of lesson {said[one.chosen]}")


def name_all(submissions: list[Submission], pattern: str | None, roster: list[dict] | None) -> None:
    """Give each submission the student's name and a file name. Several submissions of a student get a flag.

    pattern: a regular expression for the entry's name. Its first group, or its whole match, is the name.
    roster: the students. The entry's name contains the student's name, id, login, email or file.
    Students of the roster who have no submission get an empty submission.
    """
    by_name: dict[str, list[Submission]] = {}
    for one in submissions:
        found = re.search(pattern, one.source) if pattern else None
        if found:
            one.name = found[1] if found.re.groups and found[1] else found[0]
        elif pattern:
            one.flags.append(f"the pattern does not match {one.source}")
        if roster is not None:
            students = [row["name"] for row in roster if stands_in(row, one.name)]
            if len(students) != 1:
                who = " and ".join(students) if students else "nobody"
                one.flags.append(f"by the roster it is of {who}")
            else:
                one.name = students[0]
        by_name.setdefault(one.name, []).append(one)
    for several in [several for several in by_name.values() if len(several) > 1]:
        for one in several:
            others = ", ".join(other.source for other in several if other is not one)
            one.flags.append(f"{one.name} handed in more than once: also {others}")
    for row in roster or []:
        if row["name"] not in by_name:
            submissions.append(Submission("", row["name"], problem="nothing was handed in"))
    taken: set[str] = set()
    for one in submissions:
        plain = re.sub(r"[^A-Za-z0-9_-]+", "_", one.name)[:60].strip("_") or "unnamed"
        free = (f"{plain}_{i}" if i > 1 else plain for i in range(1, len(submissions) + 1))
        one.slug = next(slug for slug in free if slug.lower() not in taken)
        taken.add(one.slug.lower())


def stands_in(row: dict[str, str], name: str) -> bool:
    """Whether ``name`` contains all words of one cell in the roster's row."""
    cells = [words(row.get(column) or "") for column in ("name", "id", "login", "email", "file")]
    return any(cell.strip() and cell in words(name) for cell in cells)


def words(text: str) -> str:
    """The text's words with spaces between and around them. ``_``, ``-`` and ``.`` also separate words."""
    return f" {' '.join(filter(None, re.split(r'[^a-z0-9äöüß]+', text.lower())))} "


def read_roster(path: Path) -> list[dict[str, str]]:
    """The rows of a CSV file with a header. Raises OSError, and ValueError if the names are wrong."""
    with path.open(newline="", encoding="utf-8-sig") as file:
        rows = [{str(key).strip().lower(): (value or "").strip() if isinstance(value, str) else ""
                 for key, value in row.items()} for row in csv.DictReader(file)]  # fmt: skip
    require(bool(rows) and "name" in rows[0], f"{path} must have a header with the column 'name', and a row")
    require(all(row["name"] for row in rows), f"{path} has a row without a name")
    twice = [name for name, count in Counter(row["name"] for row in rows).items() if count > 1]
    require(not twice, f"{path} has more than one row for {', '.join(twice)}")
    return rows
