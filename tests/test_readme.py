"""Every snippet of README and of the book's guide runs, and every file they link to is there."""

import os
import re
import shlex
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

import minidl.nn.functional as F
import minidl.train
from minidl import nn
from minidl.classroom import cli
from minidl.classroom.course import Course
from minidl.train import schedules

ROOT = Path(__file__).parents[1]
OWN_NAMES = {"Concat", "Residual", "Skip", "Hook", "Module", "Parameter"}  # not in the table of what there is
ARGUMENTS = {'"same"', "ceil_mode", "count_include_pad", "inplace", "ignore_index", "label_smoothing"}
ARGUMENTS |= {"dim", "keepdim", "axis", "keepdims"}
GUIDE = ROOT / "lessons" / "book" / "guide"
README, FROM_PYTORCH, SLIDES, EXERCISES = (
    path.read_text(encoding="utf-8")
    for path in (ROOT / "README.md", GUIDE / "from_pytorch.md", GUIDE / "slides.md", GUIDE / "exercises.md")
)
PAGES = [ROOT / "README.md", *sorted(GUIDE.glob("*.md"))]

EXTRAS = ("sklearn", "torch", "safetensors", "onnx", "onnxruntime")
ABSENT = [name for name in EXTRAS if not find_spec(name)]


def test_every_python_snippet_runs_in_the_order_of_the_page(capsys, monkeypatch):
    monkeypatch.chdir(ROOT)
    names = {"__name__": "readme"}
    text = "\n".join(page.read_text(encoding="utf-8") for page in PAGES)
    snippets = re.findall(r"```python\n(.*?)```", text, flags=re.DOTALL)
    assert len(snippets) >= 5
    for snippet in snippets:
        if any(re.search(rf"\b(import|from) {name}\b|\bto_{name}\b", snippet) for name in ABSENT):
            continue
        exec(compile(snippet, "README.md", "exec"), names)
    printed = capsys.readouterr().out
    assert names["prices"].train_loss[-1] < 0.1
    assert names["on_fruit"].train_loss[-1] < 0.2
    assert "[2. 4. 6.]" in printed
    assert names["accuracy"] > 0.9
    assert "FAILS" in printed
    assert "def unbroadcast(grad: np.ndarray" in printed and "raise NotImplementedError" in printed


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_link_leads_to_a_file(page):
    links = re.findall(r"\]\(([^)#]+)\)", page.read_text(encoding="utf-8"))
    assert not [link for link in links if not (page.parent / link).exists()]


def test_every_section_that_the_page_of_slides_names_is_in_its_lesson():
    rows = re.findall(r"\| \[\w+\]\(../../(\w+\.py)\) \| (.*) \|$", SLIDES, flags=re.MULTILINE)
    assert len(rows) > 30 and len({name for name, _ in rows}) >= 18
    for name, section in rows:
        lesson = (ROOT / "lessons" / name).read_text(encoding="utf-8")
        assert not section or f"# ## {section}\n" in lesson, (name, section)


def test_the_page_opens_with_a_picture_that_is_small_and_described():
    (description, path), *_ = re.findall(r"!\[([^\]]+)\]\(([^)]+)\)", README)
    assert README.index(path) < README.index("## Set up")
    assert len(description) > 100
    assert (ROOT / path).stat().st_size <= 200_000


def test_the_set_up_commands_stand_there_for_both_systems():
    lines = [line.strip() for line in README.splitlines()]
    for ending in ("-m lessons run", "-m pytest -n auto"):
        assert sum(line.endswith(ending) and line.startswith("python3 -m venv") for line in lines) == 1
        assert sum(line.endswith(ending) and line.startswith("py -m venv") for line in lines) == 1


def test_every_name_in_the_table_for_those_who_come_from_pytorch_is_there():
    table = FROM_PYTORCH[FROM_PYTORCH.index("| kind | what there is") :].split("\n\n")[0]
    homes = {"of a Tensor": (minidl.Tensor, minidl), "`F.`": (F,), "training": (minidl.train, schedules)}
    homes |= {"of a module": (nn.Module,), "`nn.init.`": (nn.init,)}
    listed = set()
    for row in table.splitlines()[2:]:
        kind, names = row.strip("| ").split(" | ")
        for name in " ".join(re.findall(r"`([^`]*)`", names)).replace("minidl.", "").split():
            is_argument = name in ARGUMENTS
            assert is_argument or any(hasattr(home, name) for home in homes.get(kind, (nn,))), (kind, name)
            listed.add((kind, name))
    assert len(listed) > 130
    of_pytorch = {name for name in nn.__all__ if name[0].isupper()} - OWN_NAMES
    assert of_pytorch <= {name for _, name in listed}
    assert all(
        ("`nn.init.`", name) in listed for name in dir(nn.init) if name.endswith("_") and name[0] != "_"
    )


def test_every_lesson_stands_in_the_table():
    for lesson in sorted((ROOT / "lessons").glob("[0-9][0-9]_*.py")):
        assert f"(lessons/{lesson.name})" in README


def test_the_pdb_command_stops_inside_the_uncompiled_kernel(tmp_path):
    line = next(line for line in README.splitlines() if "-m pdb" in line and "kernels" in line)
    setting, python, *arguments = shlex.split(line)
    name, value = setting.split("=")
    environment = {**os.environ, name: value, "MPLBACKEND": "Agg", "PYTHONPATH": str(ROOT)}
    assert python == "python"
    session = subprocess.run(
        [sys.executable, *arguments[:-1], ROOT / arguments[-1]],
        input="p image.shape, kernel_size\nquit\n",
        capture_output=True,
        text=True,
        encoding="utf-8",
        cwd=tmp_path,  # the lesson saves its figures here
        env={**environment, "PYTHONIOENCODING": "utf-8"},
    )
    assert "kernels.py" in session.stdout and "im2col()" in session.stdout
    assert re.search(r"\(\(3, \d+, 225\), \(3, 3\)\)", session.stdout), "rows of the padded photograph"


def test_the_pdb_command_stops_in_the_product_and_leads_back_to_the_lesson(tmp_path):
    line = next(line for line in README.splitlines() if "break Mul.forward" in line)
    python, *arguments = shlex.split(line)
    assert python == "python"
    session = subprocess.run(
        [sys.executable, *arguments[:-1], ROOT / arguments[-1]],
        input="p a, b\nup\nup\nup\nlist\nquit\n",
        capture_output=True,
        text=True,
        encoding="utf-8",
        cwd=tmp_path,
        env={**os.environ, "MPLBACKEND": "Agg", "PYTHONPATH": str(ROOT), "PYTHONIOENCODING": "utf-8"},
    )
    assert "elementwise.py" in session.stdout and "forward()" in session.stdout
    assert "array(2., dtype=float32)" in session.stdout
    assert "01_autograd.py" in session.stdout and "a * b" in session.stdout
    launch = (ROOT / ".vscode" / "launch.json").read_text(encoding="utf-8")
    assert " ".join(line.split()[1:-1]) in launch.replace('\\"', '"')


def test_the_run_through_of_an_exercise_prints_what_the_page_shows(tmp_path, monkeypatch, capfd):
    (block,) = re.findall(r"```console\n(.*?)```", EXERCISES, flags=re.DOTALL)
    assert block.count("\n") <= 15
    (tmp_path / "course").mkdir()
    for lesson in (ROOT / "lessons").glob("[0-9][0-9]_*.py"):
        (tmp_path / "course" / lesson.name).write_text('"""A title"""', encoding="utf-8")
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    monkeypatch.setattr(cli, "SECONDS", 500.0)  # a law may take longer on a busy machine
    course = Course(tmp_path / "course")

    for command, shown in re.findall(r"^\$ (.*)\n((?:[^$].*\n)*)", block, flags=re.MULTILINE):
        verb, text = command.split(" ", 1)
        if verb == "edit":
            edit(course.work_file("08"), *text.split(": ", 1))
            continue
        assert text.startswith("-m lessons ")
        cli.main(text.split()[2:], course)
        printed = capfd.readouterr().out
        for part in shown.split("  ...\n"):
            assert without_counts(part) in without_counts(printed)
        if "  ...\n" not in shown:
            assert without_counts(printed) == without_counts(shown)


def edit(path, name, body):
    """Give the function a body, in the place of its last line; ⏎ stands between two lines."""
    before, after = path.read_text(encoding="utf-8").split(f"def {name}(", 1)
    lines = body.replace(" ⏎ ", "\n    ")
    docstring_and_body = re.sub(
        r"\n    (raise NotImplementedError|return .*)\n", f"\n    {lines}\n", after, count=1
    )
    path.write_text(f"{before}def {name}({docstring_and_body}", encoding="utf-8")


def without_counts(text):
    return re.sub(r":\d+, \d+ calls|\d+ calls", "N calls", text)
