"""Writes the pages that Sphinx reads: lessons as notebooks, studies and exercises as Markdown."""

from __future__ import annotations

import contextlib
import copy
import io
import re
import textwrap
from collections.abc import Collection
from pathlib import Path
from typing import Any

from minidl.classroom.book.reference import write_reference
from minidl.classroom.course import Course, Lesson
from minidl.classroom.files import write_text
from minidl.classroom.stubs import imports, stub
from minidl.classroom.studies import Study, failed_claims, studies
from minidl.train.intervals import t_interval

PYTHON = {"name": "python3", "display_name": "Python 3", "language": "python"}


def write_pages(course: Course, chosen: list[Lesson], folder: Path) -> None:
    """Write the sources of all pages into the folder and its subfolders."""
    names = {lesson.path.stem for lesson in chosen}
    found = [one for one in studies(course.folder / "studies") if one.path.stem in names]
    measured = {one.path.stem for one in found if one.results_path.exists()}
    for lesson in chosen:
        write_lesson(course, lesson, folder, names, measured)
    for one in found:
        if one.path.stem in measured:
            write_text(folder / "studies" / f"{one.path.stem}.md", study_page(one))
    write_text(folder / "studies" / "index.md", contents("Measurements", ABOUT_STUDIES, sorted(measured)))
    with_exercises = [lesson for lesson in chosen if course.exercises(lesson.number)]
    for lesson in with_exercises:
        write_text(folder / "exercises" / f"{lesson.path.stem}.md", exercises_page(course, lesson))
    stems = [lesson.path.stem for lesson in with_exercises]
    write_text(folder / "exercises" / "index.md", contents("Exercises", ABOUT_EXERCISES, stems))
    write_reference(folder / "reference")


ABOUT_STUDIES = """\
A lesson runs with one seed. What a lesson says beyond that seed rests on a study: a script that measures with
several seeds. `python -m lessons study 05` measures it again. `python -m lessons study --check 05` compares
two seeds with the numbers below. An interval covers the mean over seeds with a confidence of 95%."""
ABOUT_EXERCISES = """\
An exercise is a function of the library without its body. Its check is a list of laws.
`python -m lessons start 05` writes the functions of a lesson into `work/`. `python -m lessons check 05`
checks what you wrote there. `python -m lessons hint 05.1` gives a hint."""


def contents(title: str, text: str, stems: list[str]) -> str:
    """A page with a title, a text and a list of pages from the same folder."""
    listed = "\n".join(stems)
    return f"# {title}\n\n{text}\n\n```{{toctree}}\n:maxdepth: 1\n\n{listed}\n```\n"


# ---- lessons


def notebook(text: str, chosen: Collection[str]) -> Any:
    """Make a notebook from a percent script. The docstring becomes text. Links lead to other notebooks."""
    import jupytext

    docstring = re.match(r'"""(.*?)"""\n', text, re.DOTALL)
    if docstring:
        commented = textwrap.indent("# " + docstring[1].strip(), "# ", lambda line: True)
        text = "# %% [markdown]\n" + commented + text[docstring.end() :]
    notebook = jupytext.reads(text, fmt="py:percent")
    notebook.metadata = {"kernelspec": PYTHON, "language_info": {"name": "python"}}
    for cell in notebook.cells:
        cell.metadata = {}
        if cell.cell_type == "markdown":
            cell.source = linked(cell.source, chosen)
    return notebook


def linked(text: str, chosen: Collection[str], scripts: str = "", pages: str = "") -> str:
    """Let links such as ``[lesson 09](09_temperature.py)`` lead to pages, or keep only their words.

    scripts, pages: the relative paths from the text to the folder of scripts and to the folder of pages.
    """

    def link(match: re.Match) -> str:
        words, stem = match[1], match[2]
        return f"[{words}]({pages}{stem}.ipynb)" if stem in chosen else words

    return re.sub(rf"\[([^\]]+)\]\({re.escape(scripts)}(\d\d_\w+)\.py\)", link, text)


def write_lesson(
    course: Course, lesson: Lesson, folder: Path, chosen: Collection[str], measured: Collection[str]
) -> None:
    """Write the lesson's page, and a notebook for download, which has no outputs and no links to pages."""
    import jupytext

    stem = lesson.path.stem
    plain = notebook(lesson.path.read_text(encoding="utf-8"), chosen)
    write_text(folder / "notebooks" / f"{stem}.ipynb", jupytext.writes(plain, fmt="ipynb"))
    page = copy.deepcopy(plain)
    first = page.cells[0]
    links = [f"The script is `lessons/{stem}.py`", f"{{download}}`as a notebook <../notebooks/{stem}.ipynb>`"]
    if course.exercises(lesson.number):
        links.append(f"[the exercises](../exercises/{stem}.md)")
    if stem in measured:
        links.append(f"[the measurements](../studies/{stem}.md)")
    first.source += f"\n\n{' · '.join(links)}\n"
    write_text(folder / "lessons" / f"{stem}.ipynb", jupytext.writes(page, fmt="ipynb"))


# ---- studies


def study_page(one: Study) -> str:
    """A page about one study: the measured numbers, the settings, the results and the claims."""
    module, stored = one.load(), one.stored()
    title, _, about = (module.__doc__ or "").strip().partition("\n")
    versions = ", ".join(f"{name} {version}" for name, version in stored["versions"].items())
    seconds, seeds = stored["seconds"], f"{stored['seeds'][0]} to {stored['seeds'][-1]}"
    title = title.removeprefix(one.number).strip(" .")
    parts = [f"# {one.number} {title}", textwrap.dedent(about).strip()]
    parts.append(f"Seeds {seeds}, measured on {stored['date']} in {seconds:.0f} s with {versions}.")
    if stored["settings"]:
        rows = [[as_words(name), as_words(listed(value))] for name, value in stored["settings"].items()]
        parts.append(table(["setting", "value"], rows))
    rows = []
    for name, values in one.results().items():
        each = ", ".join(f"{value:.4g}" for value in values)
        rows.append([as_words(name), str(t_interval(values)).partition(" (")[0], each])
    parts += ["## Numbers", table(["number", "mean and 95% interval", "each seed"], rows)]
    with contextlib.redirect_stdout(io.StringIO()) as said:
        failed_claims(module, one.results())
    parts += ["## Claims", f"```text\n{said.getvalue().strip() or 'none'}\n```"]
    return "\n\n".join(part for part in parts if part) + "\n"


def listed(value: object) -> str:
    """A setting as text. A list or a dict is written without its brackets."""
    if isinstance(value, dict):
        return ", ".join(f"{name}: {listed(one)}" for name, one in value.items())
    return ", ".join(map(listed, value)) if isinstance(value, list) else str(value)


def table(head: list[str], rows: list[list[str]]) -> str:
    """A Markdown table."""
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


# ---- exercises


def exercises_page(course: Course, lesson: Lesson) -> str:
    """A page of the lesson's exercises: the stub that the learner gets, and the laws in words."""
    parts = [f"# {lesson.number} {lesson.title}"]
    parts.append(f"The exercises of [the lesson](../lessons/{lesson.path.stem}.ipynb).")
    for exercise in course.exercises(lesson.number):
        needed = (
            imports(exercise.target, helpers=exercise.helpers)
            .replace("from __future__ import annotations", "")
            .strip()
        )
        code = f"{needed}\n\n\n{stub(exercise.target)}".strip()
        laws = "\n".join(f"- {as_words(law.text)}" for law in exercise.laws)
        parts += [f"## {as_words(exercise.heading)}", exercise.effort, f"```python\n{code}\n```"]
        parts += ["What must hold:", laws]
    return "\n\n".join(parts) + "\n"


def as_words(text: str) -> str:
    """Escape the characters that have a meaning in Markdown."""
    return re.sub(r"([\\`*_$<\[\]{}|])", r"\\\1", text)
