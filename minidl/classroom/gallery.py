"""Writes ``out/index.html``, a page with all figures that the lessons have written."""

from __future__ import annotations

import html
from collections.abc import Sequence
from pathlib import Path

from minidl.classroom.course import Lesson
from minidl.classroom.files import write_text

HEAD = """\
<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>minidl: figures</title>
<meta name="viewport" content="width=device-width">
<style>
body { font-family: sans-serif; max-width: 60rem; margin: 1rem auto; padding: 0 1rem; }
figure { margin: 1rem 0 2rem; } img { max-width: 100%; height: auto; }
</style></head><body>
"""


def write_gallery(lessons: Sequence[Lesson]) -> Path | None:
    """Write the page with each lesson's figures and their texts. Returns None if there is no figure yet."""
    found = [lesson for lesson in lessons if pictures(lesson)]
    if not found:
        return None
    page = found[0].root / "out" / "index.html"
    write_text(
        page, HEAD + "\n".join(section(lesson, page.parent) for lesson in found) + "\n</body></html>\n"
    )
    return page


def pictures(lesson: Lesson) -> list[Path]:
    return [path for path in lesson.figures() if path.suffix == ".png"]


def section(lesson: Lesson, folder: Path) -> str:
    lines = [f"<h2>{lesson.number} {html.escape(lesson.title)}</h2>"]
    for path in pictures(lesson):
        address, text = html.escape(path.relative_to(folder).as_posix()), html.escape(text_of(path))
        lines.append(f'<figure><img src="{address}" alt="{text}"><figcaption>{text}</figcaption></figure>')
    return "\n".join(lines)


def text_of(path: Path) -> str:
    """The figure's alternative text, or its name if the file has no such text."""
    from minidl.figures.saving import alt_text  # importing Matplotlib takes nearly a second

    try:
        return alt_text(path) or path.stem
    except OSError:  # the file is not a picture
        return path.stem
