"""The committed studies: whole, small, with claims that hold; and what lessons quote from them."""

import ast
from pathlib import Path

import pytest

import lessons
from minidl.classroom.studies import failed_claims, studies

FOLDER = Path(lessons.__file__).parent
STUDIES = studies(FOLDER / "studies")
SCRIPTS = sorted(FOLDER.glob("[0-9]*.py"))
every_study = pytest.mark.parametrize("study", STUDIES, ids=lambda study: study.path.stem)


def test_pictures_are_found_by_one_name():
    assert (lessons.PICTURES / "photos" / "chelsea.webp").is_file()


@every_study
def test_a_study_has_the_name_of_its_lesson(study):
    assert study.path.name in {path.name for path in SCRIPTS}


@every_study
def test_committed_numbers_are_small_and_fit_the_study_and_its_claims(study):
    assert study.results_path.stat().st_size < 30_000
    module = study.load()
    study.check_fresh(module)
    assert not failed_claims(module, study.results())


@every_study
def test_a_study_draws_no_figure(study):
    modules = {
        alias.name if isinstance(node, ast.Import) else node.module
        for node in ast.walk(ast.parse(study.path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Import | ast.ImportFrom)
        for alias in node.names
    }
    assert not {name for name in modules if name.startswith(("matplotlib", "minidl.figures"))}


@pytest.mark.parametrize("path", SCRIPTS, ids=lambda path: path.stem)
def test_what_a_lesson_quotes_is_there(path):
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Call) and ast.unparse(node.func) == "study":
            texts = [value.value for value in node.args if isinstance(value, ast.Constant)]
            if len(texts) == 2:  # names made in a loop are checked when the lesson runs
                assert lessons.study(*texts).n > 1
