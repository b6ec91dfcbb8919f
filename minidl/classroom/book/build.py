"""Build the book: write the pages, let Sphinx run and render the lessons, and check the site."""

from __future__ import annotations

import importlib.util
import shutil
import subprocess
import sys
import time
from pathlib import Path

from minidl.classroom.book.check import faults_of_site
from minidl.classroom.course import Course, Lesson
from minidl.classroom.running import environment
from minidl.engine.checks import require

NEEDED = ("sphinx", "sphinx_book_theme", "myst_nb", "jupytext", "sphinx-mathjax-offline")
INSTALL = 'python -m pip install -e ".[book]"'


def build_book(course: Course, chosen: list[Lesson], run: bool = True) -> int:
    """Render the chosen lessons, studies, exercises and reference into out/book. Returns 0 if all is well.

    run: whether to run the lessons' cells. If False, the pages have no outputs and no figures.
    Raises ModuleNotFoundError if the book's tools are missing. Its message says how to install the tools.
    """
    missing = [name for name in NEEDED if importlib.util.find_spec(name) is None]
    message = f"the book needs {', '.join(missing)}: call  {INSTALL}"
    require(not missing, message, ModuleNotFoundError)
    from minidl.classroom.book.pages import linked, write_pages

    start, out = time.perf_counter(), course.root / "out"
    work, site = out / "book-work", out / "book"
    for folder in (work, site):
        shutil.rmtree(folder, ignore_errors=True)
    source = work / "pages"
    shutil.copytree(course.folder / "book", source, ignore=shutil.ignore_patterns("__pycache__"))
    stems = {lesson.path.stem for lesson in chosen}
    for page in (source / "guide").glob("*.md"):  # in the book, links must lead to pages
        text = linked(page.read_text(encoding="utf-8"), stems, "../../", "../lessons/")
        page.write_text(text, encoding="utf-8")
    shutil.copy(course.folder / "first_look.png", source)
    write_pages(course, chosen, source)
    command: list[str | Path] = [sys.executable, "-m", "sphinx", "-W", "--keep-going", "-b", "html"]
    command += ["-d", work / "doctrees"]
    settings = {**environment(course.root), "MINIDL_BOOK_RUN": "force" if run else "off"}
    code = subprocess.run([*command, source, site], cwd=course.root, env=settings).returncode
    faults = faults_of_site(site, chosen if run else [])
    for fault in faults:
        print(fault, file=sys.stderr)
    pages = len(list(site.rglob("*.html")))
    page = (site / "index.html").relative_to(course.root)
    print(f"{pages} pages in {time.perf_counter() - start:.0f} s: open {page}")
    return 1 if code or faults else 0
