import builtins
import json
import os
import struct
import sys
import tracemalloc
import warnings
import zipfile
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays_of

import minidl
from minidl.data import cache, cache_folder, cached, cached_runs, files
from minidl.engine.random import default_rng_or, manual_seed

calls = []


class Maker:
    def __call__(self):
        return {"w": 1}


def squares(start=0, count=3):
    calls.append((start, count))
    return {"layer.weight": np.arange(start, start + count, dtype=np.float32) ** 2, "mean": np.float64(start)}


def other_squares(start=0, count=3):
    calls.append((start, count))
    return {"layer.weight": np.zeros(count)}


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    monkeypatch.setenv("MINIDL_CACHE", str(tmp_path / "cache"))
    calls.clear()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        yield tmp_path / "cache"


def assert_squares(arrays, start=0):
    assert list(arrays) == ["layer.weight", "mean"]
    assert arrays["layer.weight"].dtype == np.float32
    assert arrays["layer.weight"].tolist() == [start**2, (start + 1) ** 2, (start + 2) ** 2]
    assert arrays["mean"].shape == () and arrays["mean"] == start


def test_a_result_is_made_once_and_read_after_that():
    for _ in range(3):
        assert_squares(cached("squares", {"start": 4}, squares), start=4)
    assert calls == [(4, 3)]


def test_another_name_recipe_maker_or_version_is_another_entry(folder, monkeypatch):
    cached("squares", {"start": 4}, squares)
    cached("squares", {"start": 5}, squares)
    cached("squares", {"start": 4, "count": 3}, squares)
    cached("squares-2", {"start": 4}, squares)
    cached("squares", {"start": 4}, other_squares)
    monkeypatch.setattr(minidl, "__version__", "0.0.0")
    cached("squares", {"start": 4}, squares)
    assert len(calls) == 6 and len(list(folder.iterdir())) == 6


def test_the_order_of_the_recipes_entries_does_not_matter():
    cached("squares", {"start": 4, "count": 3}, squares)
    cached("squares", {"count": 3, "start": 4}, squares)
    assert len(calls) == 1


def test_the_result_cold_and_warm_is_the_same_and_may_be_changed(folder):
    cold = cached("squares", {}, squares)
    cold["layer.weight"][:] = -1
    warm = cached("squares", {}, squares)
    warm["layer.weight"][:] = -1
    assert_squares(cached("squares", {}, squares))


def test_changing_a_result_does_not_change_the_arrays_that_the_maker_keeps():
    weights = np.ones(3)
    cached("weights", {}, lambda: {"w": weights})["w"][:] = 0
    assert weights.tolist() == [1, 1, 1]


def test_an_entry_is_an_npz_without_pickle_that_holds_its_recipe(folder):
    cached("squares", {"start": 4}, squares)
    (path,) = folder.iterdir()
    assert path.name.startswith("squares-") and path.suffix == ".npz"
    with np.load(path, allow_pickle=False) as stored:
        assert stored["layer.weight"].tolist() == [16, 25, 36]
        recipe = json.loads(stored["recipe.json"])
    assert recipe["recipe"] == {"start": 4} and recipe["minidl"] == minidl.__version__
    assert recipe["make"].startswith("def squares(")


@given(
    st.dictionaries(
        st.text(
            st.characters(whitelist_categories=["L", "N"], whitelist_characters="._-"), min_size=1, max_size=8
        ),
        arrays_of.arrays(
            st.sampled_from([np.float32, np.float64, np.int64, np.bool_, np.dtype("U3")]),
            arrays_of.array_shapes(min_dims=0, min_side=0, max_dims=3, max_side=3),
        ),
        max_size=4,
    )
)
def test_arrays_of_any_name_dtype_and_shape_come_back_as_they_were(tmp_path_factory, arrays):
    path = tmp_path_factory.getbasetemp() / "any.npz"
    texts = {cache.RECIPE: "header", cache.NAMES: json.dumps(list(arrays))}
    files.write_archive(path, texts, arrays)
    stored = cache.read_arrays(path, "header")
    assert list(stored) == list(arrays)
    for key, array in arrays.items():
        assert stored[key].dtype == array.dtype and stored[key].shape == array.shape
        np.testing.assert_array_equal(stored[key], array)


def test_a_run_draws_the_same_numbers_afterwards_whether_the_result_was_made_or_read():
    def draws_from_the_default_generator():
        return {"noise": default_rng_or(None).normal(size=3)}

    def seeds_the_default_generator():
        return {"noise": manual_seed(5).normal(size=3)}

    for make in (draws_from_the_default_generator, seeds_the_default_generator):
        after = []
        for _ in range(2):
            manual_seed(1)
            cached("noise", {}, make)
            after.append(default_rng_or(None).random())
        assert after[0] == after[1] == np.random.default_rng(1).random()


def test_an_entry_that_claims_to_be_huge_is_made_anew_without_taking_memory(folder):
    cached("squares", {}, squares)
    (path,) = folder.iterdir()
    content = bytearray(path.read_bytes())
    at = content.rindex(b"PK\x01\x02")
    content[at + 20 : at + 28] = struct.pack("<LL", 1_500_000_000, 1_500_000_000)
    path.write_bytes(content)
    tracemalloc.start()
    with pytest.warns(UserWarning, match="claim to be larger than the file"):
        assert_squares(cached("squares", {}, squares))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 5_000_000


def flipped(content, k, bits):
    return content[:k] + bytes([content[k] ^ bits]) + content[k + 1 :]


@pytest.mark.parametrize("bits", [0xFF, 0x02], ids=["all bits", "one bit, which turns a 3 into a 1"])
def test_an_entry_with_any_byte_changed_gives_the_right_result_or_is_made_anew_with_a_warning(folder, bits):
    cached("squares", {}, squares)
    (path,) = folder.iterdir()
    content = path.read_bytes()
    rebuilt = 0
    for k in range(len(content)):
        path.write_bytes(flipped(content, k, bits))
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            assert_squares(cached("squares", {}, squares))
        messages = [str(warning.message) for warning in caught]
        assert all("stored result squares is of no use and is made again" in message for message in messages)
        rebuilt += len(messages)
    # changes of time stamps and similar bytes do no harm
    assert len(calls) == 1 + rebuilt and rebuilt > len(content) / 2


def test_a_large_array_whose_stored_shape_was_changed_is_made_anew_with_a_warning(folder):
    cached("squares", {"count": 5000}, squares)
    (path,) = folder.iterdir()
    path.write_bytes(path.read_bytes().replace(b"(5000,)", b"(1000,)"))
    with pytest.warns(UserWarning, match="Bad CRC-32 .*layer.weight.npy"):
        assert cached("squares", {"count": 5000}, squares)["layer.weight"].shape == (5000,)


@pytest.mark.parametrize("cut", [0, 1, 100, -1])
def test_a_truncated_entry_is_made_anew_with_a_warning_and_whole_after_that(folder, cut):
    cached("squares", {}, squares)
    (path,) = folder.iterdir()
    path.write_bytes(path.read_bytes()[:cut])
    with pytest.warns(UserWarning, match="squares is of no use and is made again"):
        assert_squares(cached("squares", {}, squares))
    assert_squares(cached("squares", {}, squares))
    assert len(calls) == 2


def test_an_entry_of_another_recipe_under_this_ones_name_is_made_anew_with_a_warning(folder):
    cached("squares", {"start": 9}, squares)
    (foreign,) = folder.iterdir()
    cached("squares", {}, squares)
    (own,) = set(folder.iterdir()) - {foreign}
    os.replace(foreign, own)
    with pytest.warns(UserWarning, match="was made by another recipe"):
        assert_squares(cached("squares", {}, squares))


def test_an_entry_with_pickled_objects_is_never_unpickled(folder, capsys):
    class Bomb:
        def __reduce__(self):
            return (builtins.print, ("unpickled",))

    cached("squares", {}, squares)
    (path,) = folder.iterdir()
    with zipfile.ZipFile(path) as archive:
        header = archive.read("recipe.json")
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("recipe.json", header)
        archive.writestr("arrays.json", '["layer.weight"]')
        with archive.open("layer.weight.npy", "w") as entry:
            np.lib.format.write_array(entry, np.array([Bomb()], dtype=object), allow_pickle=True)
    with pytest.warns(UserWarning, match="made again: ValueError.*an array of object"):
        assert_squares(cached("squares", {}, squares))
    assert "unpickled" not in capsys.readouterr().out


class FailingFile:
    """A file one of whose writes fails half-way, as on a full disk: the one that brings `left` to 0."""

    left = 0
    error = OSError(28, "No space left on device")

    def __init__(self, file):
        self.file = file

    def write(self, data):
        FailingFile.left -= 1
        if FailingFile.left == 0:
            self.file.write(data[: len(data) // 2])
            raise FailingFile.error
        return self.file.write(data)

    def __getattr__(self, name):
        return getattr(self.file, name)

    def __enter__(self):
        return self

    def __exit__(self, *error):
        self.file.close()


@pytest.fixture
def failing_writes(monkeypatch):
    monkeypatch.setattr(files, "open", lambda path, mode: FailingFile(path.open(mode)), raising=False)


@pytest.mark.parametrize("old", [False, True], ids=["no entry yet", "a damaged entry there"])
def test_a_failure_at_any_write_leaves_the_old_file_or_none_and_returns_the_result(
    folder, failing_writes, old
):
    FailingFile.left, FailingFile.error = 0, OSError(28, "No space left on device")
    cached("squares", {}, squares)
    (path,) = folder.iterdir()
    writes = -FailingFile.left
    assert writes > 10
    for k in range(1, writes + 1):
        path.unlink(missing_ok=True)
        if old:
            path.write_bytes(b"damaged")
        FailingFile.left = k
        with pytest.warns(UserWarning) as caught:
            assert_squares(cached("squares", {}, squares))
        assert "could not be stored and will be made again: OSError(28" in str(caught[-1].message)
        assert [file.read_bytes() for file in folder.iterdir()] == ([b"damaged"] if old else [])


def test_an_interruption_while_writing_passes_through_and_leaves_no_rubbish(folder, failing_writes):
    FailingFile.left, FailingFile.error = 3, KeyboardInterrupt()
    with pytest.raises(KeyboardInterrupt):
        cached("squares", {}, squares)
    assert list(folder.iterdir()) == []


@pytest.mark.parametrize("name", ["replace", "mkdir"])
def test_a_failing_rename_or_folder_still_returns_the_result(folder, monkeypatch, name):
    def fail(*args, **kwargs):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(*((cache.os, name) if name == "replace" else (Path, name)), fail)
    with pytest.warns(UserWarning, match="could not be stored .*PermissionError"):
        assert_squares(cached("squares", {}, squares))
    assert not folder.exists() or list(folder.iterdir()) == []


def test_a_cache_folder_that_is_a_file_still_returns_the_result(folder):
    folder.write_text("not a folder")
    with pytest.warns(UserWarning, match="could not be stored"):
        assert_squares(cached("squares", {}, squares))
    assert folder.read_text() == "not a folder"


def test_runs_are_cached_one_by_one_so_an_interruption_loses_only_the_run_it_hits():
    def interrupted_at_three(seed):
        calls.append(seed)
        if seed == 3 and calls.count(3) == 1:
            raise KeyboardInterrupt
        return {"score": np.array(seed * 10)}

    recipes = [{"seed": seed} for seed in range(5)]
    with pytest.raises(KeyboardInterrupt):
        cached_runs("grid", recipes, interrupted_at_three)
    runs = cached_runs("grid", recipes, interrupted_at_three)
    assert [int(run["score"]) for run in runs] == [0, 10, 20, 30, 40]
    assert calls == [0, 1, 2, 3, 3, 4]


def test_nothing_is_stored_when_making_fails(folder):
    def fails():
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        cached("fails", {}, fails)
    assert not folder.exists()


@pytest.mark.parametrize(
    ("name", "recipe", "make", "error", "message"),
    [
        ("a/b", {}, squares, ValueError, "name must consist of letters, digits and ._-, got 'a/b'"),
        ("", {}, squares, ValueError, "name must consist"),
        ("a", [1], squares, TypeError, "recipe must be a dict"),
        ("a", {1: 2}, squares, TypeError, "recipe must be a dict of make's keyword arguments"),
        ("a", {"start": np.int64(3)}, squares, TypeError, "plain JSON values, got .*int64"),
        ("a", {"start": float("nan")}, squares, ValueError, "plain JSON values"),
        ("a", {}, {"w": 1}, TypeError, "make must be a function"),
        ("a", {}, partial(squares, 3), TypeError, "make must be .* got functools.partial.* in the recipe"),
        ("a", {}, Maker(), TypeError, "make must be a function whose text can be read"),
        ("a", {}, Maker().__call__, TypeError, "make must be a function whose text can be read"),
        ("a", {}, eval("lambda: {}"), TypeError, "make must be a function whose text can be read"),
        ("a", {}, lambda: [1], TypeError, "the result of make for a must be a dict, got"),
        ("a", {}, lambda: {"w": object()}, TypeError, "dtype object under 'w'"),
        ("a", {}, lambda: {"w/x": 1.0}, ValueError, "letters, digits and ._-, got 'w/x'"),
    ],
)
def test_bad_arguments_and_results_are_refused_and_nothing_is_stored(
    folder, name, recipe, make, error, message
):
    with pytest.raises(error, match=message):
        cached(name, recipe, make)
    assert not folder.exists()


@pytest.mark.parametrize(
    ("platform", "variables", "expected"),
    [
        ("linux", {"MINIDL_CACHE": "/elsewhere"}, "/elsewhere"),
        ("linux", {"MINIDL_CACHE": "", "XDG_CACHE_HOME": ""}, "/home/ada/.cache/minidl"),
        ("linux", {"XDG_CACHE_HOME": "/xdg"}, "/xdg/minidl"),
        ("linux", {"XDG_CACHE_HOME": "relative"}, "/home/ada/.cache/minidl"),
        ("darwin", {}, "/home/ada/Library/Caches/minidl"),
        ("win32", {"LOCALAPPDATA": "/local"}, "/local/minidl/Cache"),
        ("win32", {"LOCALAPPDATA": ""}, "/home/ada/AppData/Local/minidl/Cache"),
    ],
)
@pytest.mark.skipif(sys.platform == "win32", reason="the expected paths are spelled for POSIX")
def test_the_folder_is_the_one_each_system_keeps_for_caches(monkeypatch, platform, variables, expected):
    for name in ("MINIDL_CACHE", "XDG_CACHE_HOME", "LOCALAPPDATA"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", "/home/ada")
    monkeypatch.setattr(cache.sys, "platform", platform)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    assert cache_folder() == Path(expected)


def test_recipes_that_are_no_list_are_refused(folder):
    with pytest.raises(TypeError, match="recipes must be an Iterable, got 3"):
        cached_runs("a", 3, squares)
