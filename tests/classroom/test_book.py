"""The book: what its pages say, what is refused of a finished site, and a small book, built and run."""

import shutil
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

import lessons
from minidl.classroom.book import build, pages
from minidl.classroom.book.check import faults_of_site
from minidl.classroom.book.reference import as_rst, write_reference
from minidl.classroom.cli import main
from minidl.classroom.course import Course
from minidl.classroom.exercise import Exercise
from minidl.engine.reduce import stable_softmax

LESSON = """# %% [markdown]
# # 01 A lesson made for a test
# Is this a lesson? See [lesson 02](02_more.py) and [lesson 09](09_other.py).
#
# $$y = \\\\frac{a_1}{b}$$

# %%
import numpy as np

from lessons import PICTURES
from minidl.figures import image_grid, save

assert PICTURES.is_dir()
save(image_grid(np.zeros((1, 2, 2))), "01_made/one", alt="A single black square.")

# %%
for i in range(2):
    save(image_grid(np.full((1, 2, 2), i / 3)), f"01_made/{i}")
print("the answer is", 6 * 7)
"""
OLD = '"""02 More\n\nQuestion: why?\n"""\n\n# %% [markdown]\n# ## A section\n# text\n\n# %%\nx = 1\n'
STUDY = '''"""What is measured.

A sentence about *it*.
"""
from minidl.classroom.claims import claim

SEEDS = 3
SETTINGS = {"epochs": {"teacher": 40, "rates": [0.1, 2]}}


def measure(seed):
    return {"a|b, t_1": seed + 1.0}


def claims(results):
    claim("it is positive", min(results["a|b, t_1"]) > 0)
'''


@pytest.fixture(scope="module")
def course(tmp_path_factory):
    """A course with two lessons, a study and one exercise."""
    folder = tmp_path_factory.mktemp("book") / "lessons"
    (folder / "studies").mkdir(parents=True)
    (folder / "01_made.py").write_text(LESSON.replace("\\\\", "\\"))
    (folder / "02_more.py").write_text(OLD)
    (folder / "studies" / "01_made.py").write_text(STUDY)
    real = Path(lessons.__file__).parent
    shutil.copytree(real / "book", folder / "book", ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(real / "first_look.png", folder)
    exercise = Exercise("01.1", stable_softmax, points=1, level=2, hints=("a",))
    exercise.law("each row sums to 1, and p_i * 2 <= 2")(lambda softmax: None)
    found = {"01": [exercise]}
    made = SimpleNamespace(all_exercises=lambda lesson=r"\d\d": found.get(lesson, []))
    sys.modules["exercises_of_the_book"] = made
    yield Course(folder, "exercises_of_the_book")
    del sys.modules["exercises_of_the_book"]


@pytest.fixture(scope="module")
def site(course):
    """The folder of the finished site, its lessons run; the reference is left to the whole book."""
    for name in build.NEEDED:
        pytest.importorskip(name)
    assert main(["study"], course) == 0
    with pytest.MonkeyPatch.context() as patch:
        write = pages.write_text
        listed = "Reference\n=========\n"
        patch.setattr(pages, "write_reference", lambda folder: write(folder / "index.rst", listed))
        patch.setenv("PYTHONPATH", str(Path(lessons.__file__).parents[1]))
        assert main(["book"], course) == 0
    return course.root / "out" / "book"


def page(site, name):
    return (site / name).read_text(encoding="utf-8")


def test_a_lesson_is_a_page_with_text_code_outputs_and_figures(site):
    text = page(site, "lessons/01_made.html")
    assert "<h1>01 A lesson made for a test" in text
    assert "the answer is 42" in text and "PICTURES" in text
    assert text.count("../_images/") == 3
    assert 'alt="A single black square."' in text and 'alt="01_made/0"' in text
    assert "figure: out/" not in text
    assert r"\frac{a_1}{b}" in text and "mathjax" not in text.split("<head>")[0]
    assert "_static/tex-svg-full.js" in text and (site / "_static" / "tex-svg-full.js").is_file()


def test_a_lesson_links_to_lessons_of_the_book_its_notebook_exercises_and_measurements(site):
    text = page(site, "lessons/01_made.html")
    assert 'href="02_more.html"' in text and "09_other" not in text
    assert 'href="../exercises/01_made.html"' in text and 'href="../studies/01_made.html"' in text
    (notebook,) = site.rglob("_downloads/*/01_made.ipynb")
    import nbformat

    read = nbformat.read(notebook, as_version=4)
    nbformat.validate(read)
    assert [cell.cell_type for cell in read.cells] == ["markdown", "code", "code"]
    assert "as a notebook" not in read.cells[0].source
    assert not any(cell.get("outputs") for cell in read.cells)


def test_a_docstring_becomes_text(site):
    text = page(site, "lessons/02_more.html")
    assert "<h1>02 More" in text and "Question: why?" in text and '"""' not in text


def test_a_study_is_a_page_with_its_numbers_settings_and_claims(site):
    text = page(site, "studies/01_made.html")
    assert "<h1>01 What is measured<" in text and "Seeds 0 to 2" in text
    assert "<em>it</em>" in text and "teacher: 40, rates: 0.1, 2" in text
    assert "a|b, t_1" in text and "2.0 ± 2.5" in text and "1, 2, 3" in text
    assert "HOLDS                it is positive" in text


def test_an_exercise_is_shown_as_a_learner_gets_it_with_its_laws_in_words(site):
    text = page(site, "exercises/01_made.html")
    assert "01.1 stable_softmax" in text and "NotImplementedError" in text
    assert "<p>1 point, ●●, 10 minutes</p>" in text
    assert "each row sums to 1, and p_i * 2 &lt;= 2" in text


def test_the_site_has_no_fault(site, course):
    assert faults_of_site(site, course.lessons()) == []


@pytest.mark.parametrize(
    "name, before, after, fault",
    [
        ("index.html", "</head>", '<script src="https://x.org/a.js"></script>', "loads https://x.org/a.js"),
        ("index.html", "</head>", '<link rel="stylesheet" href="//x.org/a.css">', "loads //x.org/a.css"),
        ("index.html", "</body>", '<img src="gone.png">', "loads gone.png, which is not there"),
        ("index.html", "</body>", '<a href="gone.html">x</a>', "leads to gone.html, which is not there"),
        ("index.html", "</body>", '<a href="lessons/02_more.html#no">x</a>', "a place that is not there"),
        ("lessons/01_made.html", "../_images/", "../_other/", "which is not there"),
        ("lessons/01_made.html", 'alt="A single black square."', 'alt=""', "has no text"),
        ("_static/book.css", "/*", "@font-face { src: url('https://x.org/f.woff') } /*", "https://x.org/f"),
    ],
)
def test_a_fault_of_a_site_is_found(site, course, tmp_path, name, before, after, fault):
    copy = shutil.copytree(site, tmp_path / "site")
    text = page(copy, name)
    assert before in text
    (copy / name).write_text(text.replace(before, after, 1), encoding="utf-8")
    assert [line for line in faults_of_site(copy, course.lessons()) if fault in line]


def test_a_missing_page_or_figure_is_found(site, course, tmp_path):
    copy = shutil.copytree(site, tmp_path / "site")
    text = page(copy, "lessons/01_made.html")
    for _ in range(2):  # two of three figures; the script calls save at two places
        start = text.index('<img alt="')
        text = text[:start] + text[text.index(">", start) + 1 :]
    (copy / "lessons" / "01_made.html").write_text(text, encoding="utf-8")
    faults = faults_of_site(copy, course.lessons())
    assert "lesson 01: 1 figures are on the page, and the script saves 2" in faults
    (copy / "lessons" / "01_made.html").unlink()
    assert "lesson 01: there is no page" in faults_of_site(copy, course.lessons())


def test_a_lesson_that_fails_fails_the_book(site, course, capfd, monkeypatch):
    monkeypatch.setattr(
        pages, "write_reference", lambda folder: pages.write_text(folder / "index.rst", "R\n=\n")
    )
    kept = (course.folder / "02_more.py").read_text()
    (course.folder / "02_more.py").write_text(kept + "raise RuntimeError('on purpose')\n")
    shutil.move(site, site.with_name("kept"))
    try:
        assert main(["book", "02"], course) == 1
        assert main(["book", "02", "--no-run"], course) == 0
    finally:
        (course.folder / "02_more.py").write_text(kept)
        shutil.rmtree(site)
        shutil.move(site.with_name("kept"), site)
    assert "on purpose" in "".join(capfd.readouterr())


def test_without_the_tools_of_the_book_a_sentence_says_what_to_install(course, capsys, monkeypatch):
    monkeypatch.setattr(
        build.importlib.util, "find_spec", lambda name: None if name == "myst_nb" else sys.__spec__
    )
    assert main(["book"], course) == 2
    assert capsys.readouterr().err == 'the book needs myst_nb: call  python -m pip install -e ".[book]"\n'


@pytest.mark.parametrize(
    "docstring, expected",
    [
        ("y = a * b_ and |x|", [r"y = a \* b\_ and \|x\|"]),
        ("takes ``a * b_`` as `is`", [r"takes ``a * b_`` as \`is\`"]),
        ("First\n\n    f = a*b\n\nlast_", ["First", "::", "f = a*b", r"last\_"]),
        ("First:\n    f = a*b\nlast", ["First:", "::", "f = a*b", "last"]),
        ("Words that\n  go on * here", ["Words that", r"go on \* here"]),
        ("- one\n  and more\n- two", ["- one", "and more", "- two"]),
    ],
)
def test_a_docstring_is_words_but_for_indented_blocks(docstring, expected):
    assert [line.strip() for line in as_rst(docstring.split("\n")) if line.strip()] == expected


@pytest.mark.parametrize("before", ["First_", "    f = a*b", "- one"])
def test_an_example_in_a_docstring_stays_as_it_is_up_to_the_next_blank_line(before):
    example = [">>> with f(`a`, *b_) as c:  # |c|", "...     print(c, *d_)", "[[1 | 0]", " [0 | 1]]"]
    written = as_rst(["", before, "", *example, "", "last_"])
    start = written.index(example[0])
    assert written[start : start + 4] == example
    assert written[start - 1] == written[start + 4] == "" and r"last\_" in written[start + 5 :]


def test_the_book_shows_the_examples_of_a_docstring_as_code():
    publish = pytest.importorskip("docutils.core").publish_doctree
    example = ">>> print(*np.eye(2), sep='_')\n[1. 0.]_[0. 1.]\n>>> f(`a`, |b|)\n[[1 *0]\n [0 *1]]"
    tree = publish("\n".join(as_rst(["Words.", "", "    f = a * b", "", *example.split("\n")])))
    assert [block.astext() for block in tree.findall() if block.tagname == "doctest_block"] == [example]
    assert not [block for block in tree.findall() if block.tagname == "system_message"]


def test_the_reference_documents_everything_public_once(tmp_path):
    write_reference(tmp_path)
    text = "\n".join(path.read_text() for path in sorted(tmp_path.glob("minidl*.rst")))
    for name in ("fit", "Tensor", "roc_auc", "nt_xent", "image_grid", "warmed_up"):
        assert text.count(f":: {name}\n") == 1, name
    assert ":: minidl.classroom" not in text and ":: _" not in text
