"""The results of ``grade`` as files: tables, JUnit, JSON, a page for each student, a page for the teacher."""

from __future__ import annotations

import csv
import json
import re
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING
from xml.etree import ElementTree

import minidl
from minidl.classroom.files import write_text
from minidl.classroom.pages import overview_page, student_page
from minidl.classroom.similar import identical, near_identical
from minidl.classroom.submissions import Submission
from minidl.classroom.work_file import lesson_stubs
from minidl.data.files import written_whole

if TYPE_CHECKING:
    from minidl.classroom.grade import Run

UNPRINTED = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")  # not allowed in XML


def write_reports(run: Run, submissions: list[Submission], rows: list[dict], ignored: list[str]) -> Path:
    """Write all reports into ``run.out``, each file in one step. Returns the path of the overview."""
    stubs = lesson_stubs(run.course.lesson(run.lesson), run.exercises, run.course.command).encode()
    texts = {one.key: one.text for one in submissions if one.chosen}
    named = {one.key: one for one in submissions}
    same = [[named[key] for key in group] for group in identical(texts, [stubs])]
    group_of = {one.key: number for number, group in enumerate(same) for one in group}
    pairs = [(named[a], named[b], share) for a, b, share in near_identical(texts, [stubs])
             if a not in group_of or group_of[a] != group_of.get(b)]  # fmt: skip
    graded = []
    for one, row in zip(submissions, rows, strict=True):
        flags = list(dict.fromkeys([*one.flags, *row["flags"]]))
        flags += [f"the same as {', '.join(other.name for other in group if other is not one)}"
                  for group in same if one in group]  # fmt: skip
        flags += [f"nearly the same as {other.name} ({share:.0%})" for a, b, share in pairs
                  for other in [b if one is a else a] if one in (a, b)]  # fmt: skip
        graded.append({"name": one.name, "source": one.source, **row, "flags": flags})
    write_tables(run, graded)
    write_text(run.out / "junit.xml", junit(run, graded))
    whole = {"version": 1, "minidl": minidl.__version__, **run.settings, "submissions": graded}
    whole |= {"identical": [[one.name for one in group] for group in same]}
    whole |= {"similar": [[a.name, b.name, share] for a, b, share in pairs], "ignored": ignored}
    write_text(run.out / "results.json", json.dumps(whole, indent=1))
    for row in graded:
        write_text(run.out / "students" / f"{row['slug']}.html", student_page(run, row))
    summary = {
        "laws": failing_laws(graded),
        "mistakes": recognised(graded),
        "identical": same,
        "similar": pairs,
        "ignored": ignored,
    }
    write_text(run.out / "index.html", overview_page(run, graded, summary))
    return run.out / "index.html"


# ---- tables


def write_tables(run: Run, graded: list[dict]) -> None:
    """Write grades.csv with a line for each student, and laws.csv with a line for each student and law."""
    numbers = [one.number for one in run.exercises]
    head = ["name", "source", "points", "max_points", *numbers, *(f"{n} status" for n in numbers), "flags"]
    lines = [
        [row["name"], row["source"], row["points"], row["max_points"],
         *(one["points"] for one in row["exercises"]), *(one["status"] for one in row["exercises"]),
         "; ".join(row["flags"])]
        for row in graded
    ]  # fmt: skip
    write_csv(run.out / "grades.csv", head, lines)
    laws = [
        [row["name"], one["number"], one["name"], one["status"], law, "yes" if holds else "no"]
        for row in graded for one in row["exercises"] for law, holds in one["tried"]
    ]  # fmt: skip
    write_csv(run.out / "laws.csv", ["name", "exercise", "function", "status", "law", "holds"], laws)


def write_csv(path: Path, head: list[str], lines: list[list]) -> None:
    """Write a table. No cell can be a spreadsheet formula, because names and messages come from students."""
    import io

    text = io.StringIO()
    table = csv.writer(text, lineterminator="\n")
    table.writerow(head)
    for line in lines:
        table.writerow([f"'{x}" if isinstance(x, str) and x[:1] in "=+-@\t\r" and x else x for x in line])
    with written_whole(path) as file:
        file.write(text.getvalue().encode("utf-8", "replace"))


def junit(run: Run, graded: list[dict]) -> str:
    """The results as JUnit XML, with a suite for each student and a test case for each exercise."""
    top = ElementTree.Element("testsuites", name=f"lesson {run.lesson}")
    for row in graded:
        suite = ElementTree.SubElement(top, "testsuite", name=clean(row["name"]))
        for one in row["exercises"]:
            name = f"{one['number']} {one['name']}"
            case = ElementTree.SubElement(suite, "testcase", name=name, classname=clean(row["name"]))
            case.set("time", f"{one['seconds']:.2f}")
            if one["status"] != "passed":
                told = ElementTree.SubElement(case, "failure", type=one["status"], message=clean(one["law"]))
                told.text = clean("\n".join([one["message"], one["again"]]))
        failed = sum(one["status"] != "passed" for one in row["exercises"])
        suite.attrib |= {"tests": str(len(row["exercises"])), "failures": str(failed)}
    ElementTree.indent(top)
    return '<?xml version="1.0" encoding="utf-8"?>\n' + ElementTree.tostring(top, encoding="unicode") + "\n"


def clean(text: str) -> str:
    return UNPRINTED.sub("?", text)


# ---- statistics of the class


def failing_laws(graded: list[dict]) -> list[tuple[str, str, int, int]]:
    """Rows (exercise, law, number of failing answers, number of answers), with the most failures first."""
    tried: Counter[tuple[str, str]] = Counter()
    broken: Counter[tuple[str, str]] = Counter()
    for one in [one for row in graded for one in row["exercises"]]:
        for law, holds in one["tried"]:
            if one["status"] != "missing":
                tried[one["number"], law] += 1
                broken[one["number"], law] += not holds
    return [(*law, count, tried[law]) for law, count in broken.most_common() if count]


def recognised(graded: list[dict]) -> list[tuple[str, str, list[str]]]:
    """Rows (exercise, mistake, names of students), most frequent first. An answer may have two mistakes."""
    found: dict[tuple[str, str], list[str]] = {}
    for row in graded:
        for one in row["exercises"]:
            for mistake in one["looks_like"]:
                found.setdefault((one["number"], mistake), []).append(row["name"])
    return sorted(((*key, names) for key, names in found.items()), key=lambda entry: -len(entry[2]))
