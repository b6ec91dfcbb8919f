"""Reading what was handed in, whatever it is; whose it is; and which files are nearly the same."""

import io
import os
import stat
import sys
import zipfile

import pytest
from learner import REAL, stubs

from minidl.classroom.similar import identical, near_identical
from minidl.classroom.submissions import (
    LARGEST,
    Submission,
    choose_file,
    lesson_of_all,
    name_all,
    read_roster,
    read_submissions,
)


def zipped(**files):
    """The bytes of an archive; a value of None is a link, names have __ for what Python's may not hold."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, text in files.items():
            member = zipfile.ZipInfo(name.replace("__", "/").replace("UP", ".."))
            member.compress_type = zipfile.ZIP_DEFLATED
            if text is None:
                member.external_attr = (stat.S_IFLNK | 0o777) << 16
            archive.writestr(member, "/etc/passwd" if text is None else text)
    return buffer.getvalue()


def only(folder):
    (one,), _ = read_submissions(folder)
    return one


def test_an_archive_gives_its_python_files_and_nothing_of_it_is_written(tmp_path):
    data = zipped(**{"a__x.py": "1", "UP__UP__evil.py": "2", "__abs.py": "3", "link.py": None, "x.txt": "4",
                     "__MACOSX/._x.py": "5", "C:\\y.py": "6"})  # fmt: skip
    (tmp_path / "ada.zip").write_bytes(data)
    one = only(tmp_path)
    assert one.files == {"a/x.py": b"1"}
    assert [flag.rpartition(": ")[2] for flag in one.flags[:2]] == ["../../evil.py", "/abs.py"]
    assert "link.py is a link, which is not followed" in one.flags
    assert any("C:" in flag for flag in one.flags)
    assert [path.name for path in tmp_path.iterdir()] == ["ada.zip"] and not (
        tmp_path.parent / "evil.py"
    ).exists()


def test_what_systems_leave_behind_is_no_submission_and_no_name_is_lost(tmp_path):
    for name in (".DS_Store", "._ada.py", "_ada.py", "a\x01.py", "a\x02.py", "a\x03.py"):
        (tmp_path / name).write_text("")
    found, ignored = read_submissions(tmp_path)
    assert sorted(one.source for one in found) == ["_ada.py", "a?.py", "a?.py (2)", "a?.py (3)"]
    assert ignored == ["._ada.py"]


def test_a_file_that_unpacks_to_more_than_is_said_or_allowed_is_not_read(tmp_path):
    (tmp_path / "bomb.zip").write_bytes(zipped(**{"bomb.py": "0" * (LARGEST + 1), "b.py": "1"}))
    one = only(tmp_path)
    assert list(one.files) == ["b.py"] and one.flags == ["bomb.py is larger than 1024 KB and was not read"]
    data = zipped(**{"bomb.py": "0" * 5000})
    size = (5000).to_bytes(4, "little")
    assert data.count(size) == 2  # in the file's head and in the table
    (tmp_path / "bomb.zip").write_bytes(data.replace(size, (10).to_bytes(4, "little")))
    one = only(tmp_path)
    assert all(len(text) <= 10 for text in one.files.values())


@pytest.mark.parametrize("data", [b"", b"PK\3\4 and then nothing", b"no archive"])
def test_a_broken_archive_is_said(tmp_path, data):
    (tmp_path / "ada.zip").write_bytes(data)
    assert only(tmp_path).problem.startswith("its archive cannot be read: ")


def test_archives_of_services_hold_a_folder_or_an_archive_or_a_file_each(tmp_path):
    inner = zipped(**{"09_temperature.py": "3"})
    path = tmp_path / "all.zip"
    path.write_bytes(zipped(**{"ada__09.py": "1", "ada__more.py": "2", "bob.py": "4", "cyd.zip": inner}))
    found, _ = read_submissions(path)
    assert {one.name: one.files for one in found} == {
        "ada": {"09.py": b"1", "more.py": b"2"},
        "bob": {"bob.py": b"4"},
        "cyd": {"09_temperature.py": b"3"},
    }
    path.write_bytes(zipped(**{"export__ada__09.py": "1", "export__bob__09.py": "2"}))
    assert [one.name for one in read_submissions(path)[0]] == ["ada", "bob"]


@pytest.mark.skipif(sys.platform == "win32", reason="links need a right there")
def test_links_in_folders_are_not_followed_and_pipes_not_waited_for(tmp_path):
    (tmp_path / "secret").mkdir()
    (tmp_path / "secret" / "key.py").write_text("KEY")
    folder = tmp_path / "class"
    (folder / "ada").mkdir(parents=True)
    os.symlink(tmp_path / "secret" / "key.py", folder / "ada" / "09.py")
    os.symlink(tmp_path / "secret", folder / "ada" / "more")
    os.mkfifo(folder / "ada" / "pipe.py")
    os.mkfifo(folder / "pipe.py")
    os.symlink(tmp_path / "secret", folder / "bob")
    (ada, bob), ignored = read_submissions(folder)
    assert ada.files == {} and len(ada.flags) == 2 and bob.problem == "it is a link, which is not followed"
    assert ignored == ["pipe.py"]


def test_the_file_of_the_lesson_is_chosen_among_several(tmp_path):
    several = {
        "helper.py": b"",
        "deep/09_temperature.py": b"",
        "my_softmax.py": stubs("09").encode(),
        "08_x.py": b"",
    }
    one, two, other = (
        Submission("", "", files) for files in (several, {"x.py": b""}, {"a.py": b"", "b.py": b""})
    )
    assert lesson_of_all(REAL, [one]) == "09"
    for each in (one, two, other):
        choose_file(REAL, "09", each)
    assert one.chosen == "my_softmax.py"
    assert one.flags == ["several files of lesson 09: my_softmax.py is graded, not deep/09_temperature.py"]
    assert (two.chosen, two.flags) == ("x.py", [])
    assert other.problem == "none of its files says that it is of lesson 09: a.py, b.py"
    wrong = Submission("", "", {"08_warmup_smoothing_noise.py": b""})
    choose_file(REAL, "09", wrong)
    assert wrong.chosen and wrong.flags == ["it says that it is of lesson 08"]


def test_the_name_of_a_file_does_not_decide_against_its_text():
    named = Submission("", "", {"hw02_clara.py": b"def entropy(p):\n    pass\n"})
    assert lesson_of_all(REAL, [named]) == "09"
    choose_file(REAL, "09", named)
    assert (named.chosen, named.flags) == ("hw02_clara.py", [])
    other = Submission("", "", {REAL.lesson("02").path.name: stubs("09").encode()})
    choose_file(REAL, "09", other)
    assert other.flags == ["its name is that of lesson 02, its text that of lesson 09"]
    with pytest.raises(
        ValueError, match="lessons 09 and 12 have equally many files: choose with --lesson NN"
    ):
        lesson_of_all(REAL, [named, Submission("", "", {"x.py": stubs("12").encode()})])
    with pytest.raises(ValueError, match="no file names its lesson"):
        lesson_of_all(REAL, [Submission("", "", {"hw02.py": b"def f(): pass"})])


def test_names_come_from_the_pattern_and_the_roster_and_none_is_lost(tmp_path):
    roster = tmp_path / "roster.csv"
    roster.write_text("Name,ID\nAda Lovelace,101\nBob Noyce,1010\nCyd Charisse,103\n", encoding="utf-8-sig")
    found = [Submission(f"{name}.py", name) for name in ("hw_101_a", "late_101_b", "hw_1010", "hw_999")]
    name_all(found, r"(?<=_)\d+", read_roster(roster))
    assert [one.name for one in found] == ["Ada Lovelace", "Ada Lovelace", "Bob Noyce", "999", "Cyd Charisse"]
    assert found[0].flags == ["Ada Lovelace handed in more than once: also late_101_b.py"]
    assert found[3].flags == ["by the roster it is of nobody"]
    assert found[4].problem == "nothing was handed in"
    assert [one.slug for one in found[:3]] == ["Ada_Lovelace", "Ada_Lovelace_2", "Bob_Noyce"]


def test_no_two_have_the_same_file_name():
    found = [Submission(f"{i}", name) for i, name in enumerate(["a b", "A_b", "a_b_2", "..", "é"])]
    name_all(found, None, None)
    assert [one.slug for one in found] == ["a_b", "A_b_2", "a_b_2_2", "unnamed", "unnamed_2"]


@pytest.mark.parametrize("text", ["", "id\n3\n", "name\nada\nada\n", "name,id\n,3\n"])
def test_a_roster_that_makes_no_sense_is_refused(tmp_path, text):
    (tmp_path / "roster.csv").write_text(text)
    with pytest.raises(ValueError, match="roster.csv"):
        read_roster(tmp_path / "roster.csv")


LONG = "def f(a, b):\n" + "".join(f"    a[{i}] = b.m{i}(a) - {i} * b\n" for i in range(20)) + "    return a\n"


def test_renamed_and_reformatted_files_are_nearly_identical_and_others_are_not():
    renamed = LONG.replace("a", "xs").replace("(xs, b)", "(xs,   b)").replace("b", "other") + "# mine\n"
    shuffled = "".join(f"def g{i}(q):\n    while q[{i}:]: q = [q, not q, 'x' @ q]\n" for i in range(20))
    texts = {"one": LONG.encode(), "two": renamed.encode(), "three": shuffled.encode()}
    assert near_identical(texts) == [("one", "two", 1.0)]
    assert near_identical(texts, [LONG.encode()]) == []  # all of it was given
    assert near_identical({**texts, "four": b"def f(:\n\0", "five": b""}) == [("one", "two", 1.0)]


def test_identical_files_are_one_group_also_where_most_of_the_class_has_them():
    text = b"def f(x):\n    total = 0.0\n    for y in x:\n        total += y\n    return total / len(x)\n" * 4
    laid_out = b"# mine\r\n" + text.replace(b"    ", b"  ").replace(b" = ", b"=").replace(b"\n", b"\r\n\r\n")
    files = {"ada": text, "bob": laid_out, "cyd": text + b"# end", "dee": text.replace(b"total", b"s")}
    assert near_identical(files) == []  # what most have does not count there
    assert identical(files) == [["ada", "bob", "cyd"]]
    assert identical(files, [text]) == []
    assert identical({"a": b"", "b": b"\n", "c": b"# only this"}) == []
    assert identical({"a": b"f(", "b": b"\n  f(", "c": b"f("}) == [["a", "b", "c"]]
    assert identical({"a": b"x = 1", "b": b"x = 2", "c": b"y = 2", "d": b"y = 2", "e": b"y = 2 # e"}) == [
        ["c", "d", "e"]
    ]
