import re
from pathlib import Path

import pytest

from minidl.data.files import written_whole


def test_two_writers_of_one_path_do_not_meet_and_the_last_to_finish_wins(tmp_path):
    path = tmp_path / "a"
    with written_whole(path) as first:
        first.write(b"first ")
        with written_whole(path) as second:
            second.write(b"second")
        assert path.read_bytes() == b"second"
        first.write(b"to the end")
    assert path.read_bytes() == b"first to the end"
    assert list(tmp_path.iterdir()) == [path]


def test_after_an_error_the_old_file_is_there_and_no_other(tmp_path):
    path = tmp_path / "a"
    path.write_bytes(b"old")
    with pytest.raises(ZeroDivisionError), written_whole(path) as file:
        file.write(b"new")
        raise ZeroDivisionError
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


def test_a_path_that_names_no_file_is_refused():
    for path in ("/", "."):
        with pytest.raises(ValueError, match="path must name a file, got"), written_whole(Path(path)):
            pass


def test_an_absent_folder_and_a_folder_as_path_are_refused_by_the_path_given(tmp_path):
    (tmp_path / "file").touch()
    for path in (tmp_path / "absent" / "a.npz", tmp_path / "file" / "a.npz"):
        message = f"there is no folder {path.parent} for the file {path}"
        with pytest.raises(FileNotFoundError, match=f"^{re.escape(message)}$"), written_whole(path):
            pass
    message = f"{tmp_path} is a folder, but must be a file"
    with pytest.raises(IsADirectoryError, match=f"^{re.escape(message)}$"), written_whole(tmp_path):
        pass
    assert [path.name for path in tmp_path.iterdir()] == ["file"]
