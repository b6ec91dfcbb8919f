"""Every snippet of the README runs, and every file it links to is there."""

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")


def test_every_python_snippet_runs_in_the_order_of_the_page(capsys, monkeypatch):
    monkeypatch.chdir(ROOT)
    names = {"__name__": "readme"}
    snippets = re.findall(r"```python\n(.*?)```", README, flags=re.DOTALL)
    assert len(snippets) >= 5
    for snippet in snippets:
        exec(compile(snippet, "README.md", "exec"), names)
    printed = capsys.readouterr().out
    assert "[2. 4. 6.]" in printed
    assert names["accuracy"] > 0.9
    assert "FAILS" in printed
    assert "def unbroadcast(grad: np.ndarray" in printed and "raise NotImplementedError" in printed


def test_every_link_leads_to_a_file():
    links = re.findall(r"\]\(([^)#]+)\)", README)
    missing = [link for link in links if not (ROOT / link).exists()]
    assert links
    assert not missing


def test_the_set_up_commands_stand_there_for_both_systems():
    lines = [line.strip() for line in README.splitlines()]
    for ending in ("-m lessons run", "-m pytest"):
        assert sum(line.endswith(ending) and line.startswith("python3 -m venv") for line in lines) == 1
        assert sum(line.endswith(ending) and line.startswith("py -m venv") for line in lines) == 1


def test_every_lesson_stands_in_the_table():
    for lesson in sorted((ROOT / "lessons").glob("[0-9][0-9]_*.py")):
        assert f"(lessons/{lesson.name})" in README


def test_the_pdb_command_stops_inside_the_uncompiled_kernel(tmp_path):
    line = next(line for line in README.splitlines() if "-m pdb" in line)
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
        cwd=tmp_path,  # where the lesson saves its figures
        env={**environment, "PYTHONIOENCODING": "utf-8"},
    )
    assert "kernels.py" in session.stdout and "im2col()" in session.stdout
    assert "((1, 8, 8), (3, 3))" in session.stdout
