"""The lessons' command line, on small lessons made for the test."""

import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from minidl.classroom import cli, running
from minidl.classroom.course import Course, Lesson
from minidl.classroom.exercise import Exercise
from minidl.engine.reduce import stable_softmax

PLAIN = '"""{number} {title}\n\nmore\n"""\nprint("this is {number}")\n'
DRAWS = '''"""03 Pictures"""
from pathlib import Path

out = Path("out/03_draws")
out.mkdir(parents=True, exist_ok=True)
(out / "new.png").write_text("new")
(out / "old.png").write_text("again")
'''


@pytest.fixture
def folder(tmp_path):
    """A lessons folder with two lessons that print and, to be added to, room for others."""
    folder = tmp_path / "lessons"
    folder.mkdir()
    (folder / "01_one.py").write_text(PLAIN.format(number="01", title="First: a start"))
    (folder / "02_two.py").write_text(PLAIN.format(number="02", title="Second"))
    (folder / "__main__.py").write_text("raise SystemExit('never run')")
    return folder


def lessons(folder, *arguments):
    return cli.main(list(arguments), Course(folder))


def command(folder, *arguments):
    code = "import sys; from pathlib import Path; from minidl.classroom.cli import *; "
    code += "exit(main(sys.argv[2:], Course(Path(sys.argv[1]))))"
    return [sys.executable, "-c", code, str(folder), *arguments]


def test_without_a_verb_lessons_and_their_exercises_are_listed(folder, capfd, monkeypatch):
    exercises = [
        Exercise("01.1", stable_softmax, points=1, hints=("a",)),
        Exercise("01.2", stable_softmax, title="by rows", points=2, level=3, minutes=25, hints=("a",)),
    ]
    made = SimpleNamespace(all_exercises=lambda lesson: [e for e in exercises if e.number[:2] == lesson])
    monkeypatch.setitem(sys.modules, "made_for_this", made)
    assert cli.main([], Course(folder, "made_for_this")) == 0
    assert capfd.readouterr().out.splitlines() == [
        "[--]     01  First: a start",
        "            01.1 stable_softmax   1 point, ●, 10 minutes",
        "            01.2 stable_softmax: by rows   2 points, ●●●, 25 minutes",
        "         02  Second",
        "",
        "next: python -m lessons run 01  to read the lesson, then  python -m lessons start 01",
    ]


def test_the_list_counts_figures_and_survives_a_lesson_being_edited(folder, capfd):
    (folder / "03_draws.py").write_text("print(")
    (folder / "04_empty.py").write_text("")
    (folder.parent / "out" / "02_two" / "a").mkdir(parents=True)
    (folder.parent / "out" / "02_two" / "a" / "x.png").write_text("")
    assert lessons(folder) == 0
    lines = capfd.readouterr().out.splitlines()
    lines = [line[9:] for line in lines if not line.startswith(" " * 12)]
    assert lines[1] == "02  Second   [1 figure]"
    assert lines[2].startswith("03  (does not parse: '(' was never closed")
    assert lines[3] == "04  (no title)"


def test_the_title_is_the_first_heading_where_there_is_no_docstring(folder):
    text = "# %% [markdown]\n# # 03 Third: as text\n# Why?\n#\n# Exercises: 03.1 mul.\n\n# %%\nprint(3)\n"
    path = folder / "03_third.py"
    path.write_text(text)
    assert Lesson(path).title == "Third: as text"
    assert Lesson(path).head == ["03 Third: as text", "Why?", "", "Exercises: 03.1 mul."]


def test_run_without_a_number_runs_all_lessons_in_order(folder, capfd):
    assert lessons(folder, "run") == 0
    out, _ = capfd.readouterr()
    heads = [line for line in out.splitlines() if "took" not in line and line]
    assert heads == ["== 01  First: a start", "this is 01", "== 02  Second", "this is 02"]
    assert out.count(" took ") == 2


def test_after_the_first_lesson_the_run_says_how_long_the_others_take(folder, capfd):
    (folder / "00_look.py").write_text(PLAIN.format(number="00", title="A look"))
    assert lessons(folder, "run") == 0
    before, after = capfd.readouterr().out.split("some\nsix minutes on two cores")
    assert "this is 00" in before and "this is 01" not in before and "this is 01" in after
    assert lessons(folder, "run", "00") == 0
    assert "minutes" not in capfd.readouterr().out


@pytest.mark.parametrize("numbers, ran", [(["02"], ["02"]), (["2"], ["02"]), (["02", "1"], ["02", "01"])])
def test_numbers_choose_lessons(folder, capfd, numbers, ran):
    assert lessons(folder, "run", *numbers) == 0
    assert [line[-2:] for line in capfd.readouterr().out.splitlines() if "this is" in line] == ran


@pytest.mark.parametrize("number", ["7", "one", "-1"])
def test_an_unknown_number_is_named_beside_the_known_and_nothing_runs(folder, capfd, number):
    assert lessons(folder, "run", "01", "--", number) == 2
    out, err = capfd.readouterr()
    assert out == ""
    assert err == f"there is no lesson {number.zfill(2)}; there are 01, 02\n"


def test_a_failing_lesson_is_named_at_the_end_and_the_others_run(folder, capfd):
    (folder / "01_one.py").write_text('"""01 Broken"""\nraise SystemExit(3)\n')
    assert lessons(folder, "run") == 1
    out, err = capfd.readouterr()
    assert "this is 02" in out
    assert err.splitlines()[-1] == "failed: 01_one.py (exit code 3)"


def test_figures_made_or_written_again_are_counted_and_others_not(folder, capfd):
    (folder / "03_draws.py").write_text(DRAWS)
    out = folder.parent / "out" / "03_draws"
    out.mkdir(parents=True)
    for name in ("old.png", "untouched.png"):
        (out / name).write_text("before")
        os.utime(out / name, (1e9, 1e9))
    assert lessons(folder, "run", "03") == 0
    *_, last, _, page = capfd.readouterr().out.strip().splitlines()
    assert last.endswith(f"s, 2 figures in {Path('out/03_draws')}")
    assert page == "all figures: out/index.html"


def test_a_page_shows_all_figures_with_their_texts(folder, capfd):
    figures = folder.parent / "out" / "02_two"
    (figures / "more").mkdir(parents=True)
    for name, alt in (("a", 'A "black" square & more'), ("more/b", "")):
        with Image.new("L", (2, 2)) as image:
            info = PngInfo()
            if alt:
                info.add_text("Description", alt)
            image.save(figures / f"{name}.png", pnginfo=info)
    (figures / "c.png").write_text("no picture")
    (figures / "d.txt").write_text("no picture")
    assert lessons(folder, "run", "01") == 0
    text = (folder.parent / "out" / "index.html").read_text(encoding="utf-8")
    assert "<h2>02 Second</h2>" in text and "<h2>01" not in text
    assert '<img src="02_two/a.png" alt="A &quot;black&quot; square &amp; more">' in text
    assert '<img src="02_two/more/b.png" alt="b">' in text and 'alt="c"' in text and "d.txt" not in text


HEADED = """# %% [markdown]
# # 01 Title
# text

# %%
from dataclasses import dataclass

# %% [markdown]
# ## First

# %%
@dataclass
class Place:
    line: int


print("in", __name__, Place.__module__)

# %% [markdown]
# ## Second
# ### Its part

# %%
import sys

print(sys.argv[0][-9:], sys.path[0][-7:], sys.modules["__main__"].Place is Place)

# %% [markdown]
# ## What to remember
"""


def test_a_run_prints_the_heading_of_each_section_before_its_output(folder, capfd):
    (folder / "01_one.py").write_text(HEADED)
    assert lessons(folder, "run", "01") == 0
    lines = capfd.readouterr().out.splitlines()[:-2]
    expected = [
        "== 01  Title",
        "",
        "## First",
        "in __main__ __main__",
        "",
        "## Second",
        "",
        "### Its part",
        "01_one.py lessons True",
    ]
    assert lines == expected


def test_headings_move_no_line_of_a_traceback(folder, capfd):
    (folder / "01_one.py").write_text(HEADED + "\n# %%\n1 / 0\n")
    assert lessons(folder, "run", "01") == 1
    out, err = capfd.readouterr()
    assert f"line {len(HEADED.splitlines()) + 3}, in <module>" in err and "ZeroDivisionError" in err
    assert "## What to remember" in out


def test_a_claim_fails_the_lesson_when_strict(folder, capfd, monkeypatch):
    text = '"""01 Claims"""\nfrom minidl.classroom.claims import claim\nclaim("two is more", 2 > 3)\n'
    (folder / "01_one.py").write_text(text)
    monkeypatch.setenv("PYTHONPATH", str(Path(cli.__file__).parents[2]))
    monkeypatch.setenv("MINIDL_STRICT", "0")
    assert lessons(folder, "run", "01") == 0
    monkeypatch.setenv("MINIDL_STRICT", "1")
    assert lessons(folder, "run", "01") == 1
    assert capfd.readouterr().out.count("DOES NOT HOLD HERE") == 2


def test_a_lesson_runs_beside_its_own_library_and_without_a_window(folder, monkeypatch):
    monkeypatch.delenv("MPLBACKEND", raising=False)
    monkeypatch.setenv("PYTHONPATH", "elsewhere")
    env = running.environment(folder.parent)
    assert env["MPLBACKEND"] == "Agg"
    library = str(Path(running.__file__).parents[2])
    assert env["PYTHONPATH"] == os.pathsep.join([str(folder.parent), "elsewhere", library])
    monkeypatch.setenv("MPLBACKEND", "svg")
    assert running.environment(folder.parent)["MPLBACKEND"] == "svg"


def test_ctrl_c_stops_the_run(folder, capfd, monkeypatch):
    def interrupted(*args, **kwargs):
        raise KeyboardInterrupt

    monkeypatch.setattr(running.subprocess, "run", interrupted)
    assert lessons(folder, "run") == 130
    assert capfd.readouterr().err.splitlines()[-1] == "stopped"


def test_a_lessons_output_streams_while_it_runs(folder):
    text = '"""01 Asks"""\nimport sys\nprint("ready?")\nassert sys.stdin.readline() == "yes\\n"\n'
    (folder / "01_one.py").write_text(text)
    with subprocess.Popen(
        command(folder, "run", "1"), stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout.readline() == "== 01  Asks\n"
        assert process.stdout.readline() == "ready?\n"  # before it could have ended
        process.stdin.write("yes\n")
        process.stdin.flush()
        assert "took" in process.stdout.read()
    assert process.returncode == 0


@pytest.mark.skipif(sys.platform == "win32", reason="needs a pseudo-terminal")
def test_a_bar_counts_several_lessons_on_a_terminal_only(folder):
    import fcntl
    import struct
    import termios

    ours, theirs = os.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 80, 0, 0))
    subprocess.run(command(folder, "run", "1"), stdout=subprocess.DEVNULL, stderr=theirs, check=True)
    subprocess.run(command(folder, "run"), stdout=subprocess.DEVNULL, stderr=theirs, check=True)
    shown = os.read(ours, 100_000).decode()
    assert "2/2" in shown and "1/1" not in shown
    os.close(theirs)
    os.close(ours)
    quiet = subprocess.run(command(folder, "run"), capture_output=True, text=True, check=True)
    assert quiet.stderr == ""
