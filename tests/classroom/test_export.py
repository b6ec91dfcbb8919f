"""What a teacher uploads: each export is laid out as its service does, and grades right and wrong answers."""

import base64
import json
import os
import re
import shlex
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
from own_course import PAGE, blocks, imported, write_course

import lessons
from minidl.classroom.cli import main, parser
from minidl.classroom.exports import tried
from minidl.classroom.exports.export import HERE, Wish, export
from minidl.classroom.exports.right import right_file
from minidl.classroom.exports.services import classroom_result
from minidl.classroom.exports.tried import INSIDE, ExportError, try_both
from minidl.classroom.work_file import lesson_stubs

SCRIPTS = [HERE / "setup.sh", HERE / "in_container.sh", HERE / "run_classroom.sh", HERE / "run_autograder"]
unix = pytest.mark.skipif(os.name != "posix", reason="the services run Linux")


@pytest.fixture(scope="module")
def course(tmp_path_factory):
    with imported(write_course(tmp_path_factory.mktemp("own"))) as course:
        yield course


@pytest.fixture(scope="module")
def texts(course):
    """Files that learners hand in, by what is wrong with them."""
    exercises = course.exercises("01")
    (mistake,) = re.findall(r"def over_columns.*", blocks("python")[0], flags=re.DOTALL)
    stubs = lesson_stubs(course.lesson("01"), exercises)
    return {
        "right": right_file(exercises),
        "over columns": stubs + "\n\n" + mistake.replace("over_columns", "layer_norm"),
        "stub": stubs,
        "escape": stubs.replace("raise NotImplementedError", 'raise ValueError("\\x1b[2J red")'),
        "broken": "def layer_norm(:\n",
    }


# ---- Gradescope


@pytest.fixture(scope="module")
def archive(course, tmp_path_factory):
    return export("gradescope", Wish(course, "01"), tmp_path_factory.mktemp("gradescope"))


def gradescope(archive, root, files):
    """Lay the archive and a submission out as the service does; results.json."""
    with zipfile.ZipFile(archive) as unpacked:
        unpacked.extractall(root / "source")
    shutil.copy(root / "source" / "run_autograder", root)
    (root / "submission").mkdir()
    for name, text in files.items():
        (root / "submission" / name).write_text(text, encoding="utf-8")
    run = subprocess.run(
        ["bash", root / "run_autograder"],
        cwd=root,
        env={**os.environ, "MINIDL_PYTHON": sys.executable},
        capture_output=True,
        text=True,
    )
    assert run.returncode == 0, run.stdout + run.stderr
    return json.loads((root / "results" / "results.json").read_text(encoding="utf-8"))


@unix
def test_what_gradescope_finds_in_the_archive(archive):
    assert archive.name == "gradescope_01.zip"
    with zipfile.ZipFile(archive) as unpacked:
        modes = {entry.filename: entry.external_attr >> 16 & 0o777 for entry in unpacked.infolist()}
        settings = json.loads(unpacked.read("settings.json"))
    assert modes["run_autograder"] == modes["setup.sh"] == 0o755, "at the root, and may be run"
    assert {
        "Dockerfile",
        "my_course/01_layer_norm.py",
        "my_course/exercises/ex01_layer_norm.py",
    } < modes.keys()
    assert settings["lesson"] == "01" and settings["folder"] == "my_course"
    assert [name for name in modes if name.endswith(".whl")] and not any(
        "__pycache__" in name for name in modes
    )


@unix
@pytest.mark.parametrize(
    "text, score, output",
    [
        ("right", 3, "all 5 laws hold"),
        ("over columns", 0, "looks like: normalises columns, as batch norm does"),
        ("stub", 0, "not written"),
        ("escape", 0, r"ValueError: \x1b[2J red"),
        ("broken", 0, "line 1 is not Python"),
    ],
)
def test_gradescope_gets_results_in_its_schema(archive, texts, tmp_path, text, score, output):
    results = gradescope(archive, tmp_path, {"my answer (2).py": texts[text]})
    assert results.keys() == {"output", "output_format", "execution_time", "stdout_visibility", "tests"}
    assert results["stdout_visibility"] == "hidden" and results["execution_time"] > 0
    (test,) = [test for test in results["tests"] if test["visibility"] == "visible"]
    assert test.pop("output").find(output) >= 0
    status = "passed" if score else "failed"
    assert test == {
        **{"name": "layer_norm", "number": "01.1", "score": score, "max_score": 3, "status": status},
        **{"output_format": "text", "visibility": "visible"},
    }


@unix
@pytest.mark.parametrize(
    "files, said",
    [
        ({}, "there is no Python file"),
        (
            {"a.py": "x = 1\n", "b.py": "y = 2\n"},
            "none of its files says that it is of lesson 01: a.py, b.py",
        ),
    ],
)
def test_gradescope_gets_no_points_and_the_reason_for_a_submission_without_an_answer(
    archive, tmp_path, files, said
):
    results = gradescope(archive, tmp_path, files)
    assert said in results["output"] and said in results["tests"][0]["output"]
    assert [test["score"] for test in results["tests"]] == [0]


@unix
def test_further_laws_and_points_go_with_the_archive_and_learners_get_none_of_them(course, texts, tmp_path):
    laws = tmp_path / "my_laws.py"
    laws.write_text(
        'import numpy as np\n\nPOINTS = {"01.1": 7}\n\n'
        '@find("01.1").law("one column gives the bias")\ndef one_column(layer_norm):\n'
        "    assert (layer_norm(np.ones((2, 1)), np.ones(1), np.full(1, 3.0)) == 3).all()\n",
        encoding="utf-8",
    )
    archive = export("gradescope", Wish(course, "01", partial=True, laws=laws), tmp_path)
    results = gradescope(archive, tmp_path / "right", {"a.py": texts["right"]})
    scored = [test for test in results["tests"] if "score" in test]  # the right text is the library's: a flag
    assert [(test["score"], test["max_score"]) for test in scored] == [(7, 7)]
    assert "all 6 laws hold" in results["tests"][0]["output"]
    results = gradescope(archive, tmp_path / "wrong", {"a.py": texts["over columns"]})
    assert 0 < results["tests"][0]["score"] < 7, "a share for the laws that hold"
    assert "one column" not in results["tests"][0]["output"]
    with pytest.raises(ValueError, match="learners could read them in what nbgrader gives"):
        export("nbgrader", Wish(course, "01", laws=laws), tmp_path)


# ---- GitHub Classroom


@pytest.fixture(scope="module")
def repository(course, tmp_path_factory):
    return export("classroom", Wish(course, "01"), tmp_path_factory.mktemp("classroom"))


def test_the_workflow_hands_the_result_of_its_step_to_the_reporter(repository):
    yaml = pytest.importorskip("yaml")
    workflow = yaml.safe_load((repository / ".github/workflows/classroom.yml").read_text(encoding="utf-8"))
    assert workflow["name"] == "Autograding Tests", "GitHub finds the run by this name"
    (job,) = workflow["jobs"].values()
    checkout, laws, reporter = job["steps"]
    assert checkout["uses"].startswith("actions/checkout@") and not checkout["with"]["persist-credentials"]
    assert (repository / laws["run"].split()[-1]).exists()
    assert reporter["with"]["runners"] == laws["id"]
    assert reporter["env"] == {f"{laws['id'].upper()}_RESULTS": f"${{{{steps.{laws['id']}.outputs.result}}}}"}
    stubs = (repository / "01_layer_norm.py").read_text(encoding="utf-8")
    assert stubs.endswith("    raise NotImplementedError\n")


@unix
@pytest.mark.parametrize("text, passes", [("right", 5), ("over columns", 1), ("broken", 0)])
def test_the_workflows_step_runs_in_a_container_and_writes_a_test_a_law(
    repository, texts, tmp_path, text, passes
):
    clone, home = tmp_path / "clone", tmp_path / "docker"
    shutil.copytree(repository, clone)
    (clone / "01_layer_norm.py").write_text(texts[text], encoding="utf-8")
    calls = run_with_fake_docker(["bash", f"{INSIDE}/run_classroom.sh"], clone, home)
    found = json.loads(base64.b64decode((home / "output").read_text().removeprefix("result=")))
    assert {key: found[key] for key in ("version", "max_score")} == {"version": 1, "max_score": 5}
    assert found["status"] == ("pass" if passes == 5 else "fail")
    assert [test["status"] for test in found["tests"]].count("pass") == passes
    for test in found["tests"]:
        assert test.keys() == {
            *("name", "status", "score", "message", "test_code", "filename", "line_no", "duration"),
        }
        assert test["name"].startswith("01.1 layer_norm: ") and test["filename"] == "01_layer_norm.py"
        assert test["score"] == (test["status"] == "pass") and bool(test["message"]) == (not test["score"])
    assert_isolated(calls)


def assert_isolated(calls):
    build, run, chown = calls
    assert build[0] == "build" and run[0] == chown[0] == "run"
    assert run[run.index("--network") + 1] == "none" and run[run.index("--cap-drop") + 1] == "ALL"
    assert {"--read-only", "--memory", "--pids-limit", "--rm"} <= set(run)
    rights = {run[i + 1] for i, one in enumerate(run) if one == "--cap-add"}
    assert rights == {"CHOWN", "DAC_OVERRIDE", "KILL", "SETGID", "SETUID"}, (
        "to become another user and end it"
    )
    writable = [
        run[i + 1] for i, one in enumerate(run) if one == "--volume" and not run[i + 1].endswith(":ro")
    ]
    assert len(writable) == 1


def run_with_fake_docker(command, cwd, home):
    """Call the command where ``docker`` is fake_docker.py; how docker was called."""
    home.mkdir()
    docker = home / "docker"
    fake = Path(__file__).with_name("fake_docker.py")
    docker.write_text(f'#!/bin/sh\nexec "{sys.executable}" "{fake}" "$@"\n', encoding="utf-8")
    docker.chmod(0o755)
    env = {**os.environ, "PATH": f"{home}:{os.environ['PATH']}", "FAKE_DOCKER": str(home)}
    env["GITHUB_OUTPUT"] = str(home / "output")
    run = subprocess.run(command, cwd=cwd, env=env, capture_output=True, text=True)
    assert run.returncode == 0, run.stdout + run.stderr
    return [json.loads(line) for line in (home / "calls.jsonl").read_text(encoding="utf-8").splitlines()]


def test_the_longest_result_fits_into_the_variable_in_which_github_hands_it_over():
    """Linux takes 128 KB of one variable; a crash is told for each law."""
    row = {"status": "crashed", "law": "", "tried": [], "case": [], "looks_like": [], "message": "m" * 10**5}
    row |= {"name": "n" * 30, "held": 0, "laws": 8, "line": 0, "seconds": 0.1}
    rows = [row | {"number": f"01.{i}", "all_laws": [f"{k}" * 120 for k in range(8)]} for i in range(6)]
    found = classroom_result({"exercises": rows, "file": "01_a_name_that_is_long.py"})
    assert found["max_score"] == 48
    assert len(base64.b64encode(json.dumps(found).encode())) < 120_000


# ---- the container


@unix
@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.name)
def test_the_scripts_are_sound(script):
    subprocess.run(["bash", "-n", script], check=True)
    if shutil.which("shellcheck"):
        subprocess.run(["shellcheck", script], check=True)


@unix
@pytest.mark.slow
def test_what_the_recipe_installs_is_the_wheel(archive, tmp_path):
    """setup.sh as the Dockerfile and Gradescope call it, with a scratch folder in the place of /opt."""
    with zipfile.ZipFile(archive) as unpacked:
        unpacked.extractall(tmp_path / "grader")
    docker = (tmp_path / "grader" / "Dockerfile").read_text(encoding="utf-8")
    assert "RUN bash /grader/setup.sh\nCOPY . /grader\n" in docker and "PATH=/opt/minidl/bin:$PATH" in docker
    script = (tmp_path / "grader" / "setup.sh").read_text(encoding="utf-8")
    assert script.count("/opt/minidl") == 2
    (tmp_path / "grader" / "setup.sh").write_text(script.replace("/opt", str(tmp_path)), encoding="utf-8")
    env = {**os.environ, "PIP_NO_DEPS": "1", "PIP_NO_INDEX": "1", "PIP_DISABLE_PIP_VERSION_CHECK": "1"}
    subprocess.run(["bash", tmp_path / "grader" / "setup.sh"], env=env, check=True, capture_output=True)
    (module,) = (tmp_path / "minidl").rglob("site-packages/minidl/classroom/exports/services.py")
    assert module.read_bytes() == (HERE / "services.py").read_bytes()
    assert (tmp_path / "grader" / "my_course").stat().st_mode & 0o077 == 0, "laws are not for nobody's eyes"


@unix
def test_grade_in_a_container_leaves_the_same_results_as_without(course, texts, tmp_path, monkeypatch):
    laws = tmp_path / "my_laws.py"
    laws.write_text('POINTS = {"01.1": 7}\n', encoding="utf-8")
    (tmp_path / "handed_in").mkdir()
    for name in ("right", "over columns"):
        (tmp_path / "handed_in" / f"{name}.py").write_text(texts[name], encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    words = ["grade", "handed_in", "--lesson", "01", "--laws", "my_laws.py", "--seed", "5", "--out"]
    home, python = tmp_path / "docker", [sys.executable, "-m", "lessons", "--course", str(course.folder)]
    monkeypatch.setenv("PYTHONPATH", str(Path(lessons.__file__).parents[1]))
    calls = run_with_fake_docker([*python, *words, "inside", "--container"], tmp_path, home)
    assert_isolated(calls)
    subprocess.run([*python, *words, "outside"], check=True, capture_output=True)
    assert (tmp_path / "inside" / "grades.csv").read_text() == (
        tmp_path / "outside" / "grades.csv"
    ).read_text()
    rows = [json.loads(line) for line in (tmp_path / "inside" / "rows.jsonl").read_text().splitlines()]
    assert sorted(row["points"] for row in rows if "points" in row) == [0, 7]
    (again,) = [one["again"] for row in rows[1:] for one in row["exercises"] if one["again"]]
    assert again.startswith(
        f"python -m lessons --course {course.folder} check inside/submissions/over_columns/"
    )


def test_without_docker_grade_says_so(course, tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("PATH", str(tmp_path))
    assert main(["grade", str(tmp_path), "--container"], course) == 2
    assert "--container calls docker, which is not installed here" in capsys.readouterr().err


# ---- notebooks


def run_notebook(course, notebook, tmp_path, answer=""):
    """Run it by nbclient, with another text in the cell of the answer; its cells."""
    nbformat, nbclient = pytest.importorskip("nbformat"), pytest.importorskip("nbclient")
    pytest.importorskip("ipykernel")
    notebook = nbformat.read(notebook, as_version=4)
    nbformat.validate(notebook)
    for cell in notebook.cells:
        if answer and cell.source.startswith("# 01.1 "):
            cell.source = cell.source.split("\n")[0] + "\n" + answer
    client = nbclient.NotebookClient(notebook, timeout=300, allow_errors=True, kernel_name="python3")
    client.execute(cwd=str(course.root))
    return notebook.cells


def test_a_learners_notebook_tells_what_the_laws_say(course, texts, tmp_path):
    notebook = export("notebook", Wish(course, "01"), tmp_path)
    last = run_notebook(course, notebook, tmp_path)[-1]
    assert last.source == 'check("01.1")' and "not written" in last.outputs[0].text
    (right,) = re.findall(r"def layer_norm.*?\n\n\n", blocks("python")[0], flags=re.DOTALL)
    assert run_notebook(course, notebook, tmp_path, right)[-1].outputs[0].text == "all 5 laws hold\n"


def test_nbgrader_gets_the_points_as_the_last_value_and_an_error_where_there_are_none(course, tmp_path):
    notebook = export("nbgrader", Wish(course, "01"), tmp_path)
    cells = run_notebook(course, notebook, tmp_path)
    graded = [cell for cell in cells if cell.metadata.nbgrader.grade]
    assert [cell.metadata.nbgrader.points for cell in graded] == [3]
    assert [
        one["data"]["text/plain"] for one in graded[0].outputs if one.output_type == "execute_result"
    ] == ["3"]
    (answer,) = [cell for cell in cells if cell.metadata.nbgrader.solution]
    assert re.search(r'"""\n    ### BEGIN SOLUTION\n(    .*\n)+    ### END SOLUTION\n?$', answer.source)
    for cell in cells:
        about = cell.metadata.nbgrader
        assert about.schema_version == 3 and about.cell_type == cell.cell_type
        assert about.locked is (not about.solution)
    assert len({cell.metadata.nbgrader.grade_id for cell in cells}) == len(cells)

    stub = answer.source.split("### BEGIN")[0].split("\n", 1)[1] + "raise NotImplementedError"
    outputs = run_notebook(course, notebook, tmp_path, stub)[-1].outputs
    assert [one.output_type for one in outputs] == ["error"], "a value of 0 would be a full score"


# ---- trying before writing


@pytest.mark.parametrize(
    "verdicts", [[{"01.1": False}, {"01.1": False}], [{"01.1": True}, {"01.1": True}], [{}, {}]]
)
def test_nothing_is_written_where_right_answers_fail_or_wrong_ones_pass(
    course, tmp_path, monkeypatch, verdicts
):
    monkeypatch.setattr(tried, "run", lambda *arguments: None)
    given = iter(verdicts)
    with pytest.raises(ExportError, match="the service would give"):
        try_both(course.exercises("01"), lambda text: next(given))
    with pytest.raises(FileNotFoundError):  # nothing ran, so there is no result to read
        export("gradescope", Wish(course, "01"), tmp_path / "out")
    assert not list((tmp_path / "out").iterdir())


# ---- the guide


def test_the_guides_own_exercise_holds_what_the_page_says_of_it(course, tmp_path):
    (script,) = blocks("py")
    run = subprocess.run(
        [sys.executable, "-c", script], cwd=course.root, capture_output=True, text=True, check=True
    )
    first, *rest = run.stdout.splitlines()
    assert first == "[True, True, True, True, True]" and first in script
    assert "is not written yet" in run.stdout
    exercise = course.exercise("01.1")
    for mistake in exercise.mistakes:
        assert not exercise.try_law(mistake.breaks, mistake.implementation).passed
    assert sum("FAILS" in line for line in rest) == 1 + len(exercise.mistakes)


def test_the_verb_says_what_it_wrote_how_many_points_there_are_and_where_to_read_on(course, tmp_path, capsys):
    assert main(["export", "notebook", "01", "--out", str(tmp_path / "here")], course) == 0
    printed = capsys.readouterr().out
    assert f"wrote {tmp_path / 'here' / 'notebook_01.ipynb'}: 1 exercise, 3 points" in printed
    assert "nbgrader.md" in printed
    assert main(["export", "notebook", "02"], course) == 2
    assert "there is no lesson 02" in capsys.readouterr().err


TEACHING = [Path(lessons.__file__).with_name("TEACHING.md"), *sorted(PAGE.parent.glob("*.md"))]


@pytest.mark.parametrize("page", TEACHING, ids=lambda page: page.name)
def test_every_command_of_the_guide_is_one_that_the_command_line_knows(page, monkeypatch, capsys):
    text = page.read_text(encoding="utf-8")
    commands = re.findall(r"python -m lessons([^\n`#]*)", text)
    commands += re.findall(r"`((?:export|grade|check|start) [^`\n]*)`", text)
    assert commands or page.name not in ("TEACHING.md", "teaching.md")
    for command in commands:
        try:
            parser().parse_args(shlex.split(command.replace("SEED", "7")))
        except SystemExit:
            pytest.fail(f"{command}: {capsys.readouterr().err}")
