"""The pages of ``grade`` as HTML. All text from a submission is escaped."""

from __future__ import annotations

import base64
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING

from minidl.classroom.further import for_learner

if TYPE_CHECKING:
    from minidl.classroom.grade import Run

HEAD = """<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy"
 content="default-src 'none'; img-src data:; style-src 'unsafe-inline'">
<title>{title}</title>
<style>
body {{ font: 16px/1.5 system-ui, sans-serif; max-width: 60rem; margin: 2rem auto; padding: 0 1rem; }}
table {{ border-collapse: collapse; margin: 1rem 0; }}
td, th {{ border: 1px solid #bbb; padding: .2rem .6rem; text-align: left; vertical-align: top; }}
pre {{ background: #f3f3f3; padding: .6rem; white-space: pre-wrap; overflow-wrap: anywhere; }}
img {{ max-width: 100%; }}
.passed {{ color: #06660f; }} .failed, .crashed, .timeout, .library {{ color: #9c1010; }}
.missing {{ color: #666; }}
</style>
<h1>{title}</h1>
"""
IDENTICAL = "<p>These differ in comments, blank lines and spaces at most.</p>"
SIMILAR = """<p>These have the same tokens in a row, whatever their names and comments. That is a hint to look
and no verdict: short answers are often alike.</p>"""


def student_page(run: Run, row: dict) -> str:
    """One student's page: the points, and for each exercise the first failure with its picture."""
    parts = [HEAD.format(title=text(f"{row['name']}, lesson {run.lesson}"))]
    parts.append(f"<p>{row['points']:g} of {row['max_points']:g} points</p>")
    exercises = {exercise.number: exercise for exercise in run.exercises}
    for one in [for_learner(one, exercises[one["number"]]) for one in row["exercises"]]:
        parts.append(f"<h2>{text(one['number'])} {text(one['name'])}: {points(one)}, {status(one)}</h2>")
        if one["status"] != "passed":
            parts.append(finding(run, row, one))
        if one["tried"]:
            marks = [f"<li>{'✓' if holds else '✗'} {text(law)}</li>" for law, holds in one["tried"]]
            parts.append("<ul>" + "".join(marks) + "</ul>")
    return "\n".join(parts) + "\n"


def finding(run: Run, row: dict, one: dict) -> str:
    """The HTML of one exercise's first failure."""
    lines = [f"law: {one['law']}"] if one["law"] else []
    lines += [f"{name} = {value}" for name, value in one["case"]]
    lines += [f"call: {one['call']}"] if one["call"] else []
    lines += [f"yours: {one['answer']}"] if one["answer"] else []
    lines += [one["message"]] if one["message"] else []
    lines += [f"looks like: {', or '.join(one['looks_like'])}"] if one["looks_like"] else []
    lines += [f"note: {one['note']}"] if one["note"] else []
    parts = [f"<pre>{text(chr(10).join(lines))}</pre>"]
    if one["picture"]:
        data = base64.b64encode((run.out / one["picture"]).read_bytes()).decode()
        alt = "your answer, the library's, and the difference"
        parts.append(f'<p><img alt="{alt}" src="data:image/png;base64,{data}"></p>')
    if one["again"]:
        again = run.again(Path(row["file"]).name, one["number"], with_laws=False)
        parts.append(f"<p>The same cases again, where the file is:</p><pre>{text(again)}</pre>")
    return "\n".join(parts)


def overview_page(run: Run, graded: list[dict], summary: dict) -> str:
    """The teacher's page: the grades, the laws that fail most often, and the flags."""
    got, most = sum(row["points"] for row in graded), sum(row["max_points"] for row in graded)
    parts = [HEAD.format(title=text(f"Lesson {run.lesson}, {len(graded)} submissions"))]
    parts.append(f"<p>{got:g} of {most:g} points. The laws drew the cases of seed {run.seed}.</p>")
    parts += ["<h2>Grades</h2>", grades(run, graded)]
    laws = [[number, law, f"{count} of {tried}"] for number, law, count, tried in summary["laws"]]
    parts += ["<h2>Laws that fail</h2>", table(["exercise", "law", "submissions that break it"], laws)]
    mistakes = [[number, mistake, len(who), ", ".join(who)] for number, mistake, who in summary["mistakes"]]
    parts += ["<h2>Recognised mistakes</h2>", table(["exercise", "mistake", "how many", "whose"], mistakes)]
    same = [[len(group), ", ".join(one.name for one in group)] for group in summary["identical"]]
    parts += ["<h2>Identical submissions</h2>", IDENTICAL, table(["how many", "whose"], same)]
    pairs = [[one.name, other.name, f"{share:.0%}"] for one, other, share in summary["similar"]]
    parts += ["<h2>Nearly identical submissions</h2>", SIMILAR, table(["", "", "in common"], pairs)]
    again = [[row["name"], one["number"], one["status"], one["again"]]
             for row in graded for one in row["exercises"] if one["again"]]  # fmt: skip
    parts += ["<h2>To see one failure again</h2>", table(["", "exercise", "status", "command"], again)]
    if summary["ignored"]:
        parts += ["<h2>Entries that are no submissions</h2>", table([""], [[x] for x in summary["ignored"]])]
    return "\n".join(parts) + "\n"


def grades(run: Run, graded: list[dict]) -> str:
    head = ["name", "points", *(f"{one.number} {one.name}" for one in run.exercises), "to look at"]
    lines = []
    for row in graded:
        name = f'<a href="students/{text(row["slug"])}.html">{text(row["name"])}</a>'
        cells = [f"{points(one)} {status(one)}" for one in row["exercises"]]
        flags = "<br>".join(text(flag) for flag in row["flags"])
        lines.append([name, f"{row['points']:g}", *cells, flags])
    cells = ["".join(f"<td>{cell}</td>" for cell in line) for line in lines]
    return whole_table(head, cells)


def table(head: list[str], lines: list[list]) -> str:
    if not lines:
        return "<p>None.</p>"
    return whole_table(head, ["".join(f"<td>{text(cell)}</td>" for cell in line) for line in lines])


def whole_table(head: list[str], lines: list[str]) -> str:
    top = "".join(f"<th>{text(cell)}</th>" for cell in head)
    return "<table>\n<tr>" + top + "</tr>\n" + "\n".join(f"<tr>{line}</tr>" for line in lines) + "\n</table>"


def points(one: dict) -> str:
    return f"{one['points']:g} of {one['max_points']:g}"


def status(one: dict) -> str:
    return f'<span class="{text(one["status"])}">{text(one["status"])}</span>'


def text(value: object) -> str:
    """The value as escaped text. A character that a page cannot show becomes ``?``."""
    said = str(value).encode("utf-8", "replace").decode()
    return escape("".join(char if char.isprintable() or char == "\n" else "\ufffd" for char in said))
