"""What crosses between the checker and the learner's process, and what does not."""

import contextlib
import io
import json
import struct

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from minidl.classroom import codec
from minidl.classroom.builders import Built
from minidl.classroom.codec import Malformed, Uncodable, Values, arrays_in, generators_in
from minidl.classroom.frames import HEAD, MAGIC, receive, send
from minidl.compress.scores import filter_masks
from minidl.explain.patches import Span

numbers = st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.complex_numbers())
dtypes = hnp.boolean_dtypes() | hnp.integer_dtypes() | hnp.unsigned_integer_dtypes() | hnp.floating_dtypes()
arrays = hnp.arrays(dtypes, hnp.array_shapes(min_dims=0, min_side=0, max_side=3))
scalars = arrays.filter(lambda a: a.size > 0).map(lambda a: a.ravel()[0])
text = st.text(st.characters(exclude_categories=["Cs"]))
values = st.recursive(
    numbers | text | arrays | scalars,
    lambda inner: st.lists(inner) | st.lists(inner).map(tuple) | st.dictionaries(text | st.integers(), inner),
    max_leaves=8,
)


def assert_alike(one, other):
    assert type(one) is type(other)
    if isinstance(one, list | tuple):
        assert len(one) == len(other)
        for a, b in zip(one, other, strict=True):
            assert_alike(a, b)
    elif isinstance(one, dict):
        assert list(one) == list(other)
        for key in one:
            assert_alike(one[key], other[key])
    elif isinstance(one, np.ndarray | np.generic):
        assert one.dtype == other.dtype and one.shape == other.shape and one.tobytes() == other.tobytes()
    else:
        assert repr(one) == repr(other)  # NaN, and -0.0


def there(value, **settings):
    return Values(**settings).read(*Values().write(value))


@given(values)
def test_values_come_back_with_type_dtype_shape_and_every_bit(value):
    assert_alike(there(value), value)


@pytest.mark.parametrize("order", ["C", "F"])
def test_an_array_keeps_its_order_and_can_be_written_to(order):
    array = np.array(np.arange(6.0).reshape(2, 3), order=order)
    found = there(array)
    assert found.flags.f_contiguous == (order == "F") and found.flags.writeable
    assert there(array[:, ::2]).tolist() == array[:, ::2].tolist()


def test_to_the_learner_go_records_models_generators_functions_of_the_library_lookups_and_sets():
    rng = np.random.Generator(np.random.MT19937(3))
    rng.normal()
    built = Built("mlp", seed=4, in_features=2, hidden=(3,), num_classes=2)
    given_ = (Span(3, 1, -1), built, rng, filter_masks, {"w": ["u"]}.__getitem__, {2, 0})
    span, model, generator, function, lookup, classes = there(given_, records=True)
    assert type(span) is Span and span == (3, 1, -1)
    assert model == built
    assert generator.normal() == rng.normal()
    assert function is filter_masks
    assert lookup("w") == ["u"]
    assert classes == {0, 2}


def test_to_the_checker_they_go_as_base_types_or_not_at_all():
    rng = np.random.default_rng(0)
    span, *others = there((Span(3, 1, -1), Built("mlp"), rng, filter_masks, [1].__getitem__, lambda: 1))
    assert type(span) is tuple and span == (3, 1, -1)
    assert others == [None] * 5


def test_a_function_goes_as_a_number_and_comes_back_as_the_one_that_it_was():
    first, second = (lambda: 1), (lambda: 2)
    sender = Values()
    message = sender.write([first, second, first])
    assert sender.functions == [first, second, first]

    def stand_in(number):
        def function():
            return number

        function.number_elsewhere = number
        return function

    found = Values(stand_in, records=True).read(*message)
    assert [function() for function in found] == [0, 1, 2]
    assert Values().write(found) == message


def test_generators_among_the_arguments_are_found_in_order():
    a, b = np.random.default_rng(0), np.random.default_rng(1)
    assert generators_in([1, a], {"rng": b}) == [a, b]


def test_arrays_among_the_arguments_are_found_in_order():
    a, b = np.zeros(2), np.ones(2)
    first, second = arrays_in([1, a], {"x": b})
    assert first is a and second is b


@pytest.mark.parametrize(
    "value, said",
    [
        (object(), "object"),
        (np.array([object()]), "an array of object"),
        (np.array(["a"]), "an array of <U1"),
        (np.datetime64("2000-01-01"), "datetime64"),
        ({(1,): 2}, "a dict with keys other than text and integers"),
        ({"a"}, "set"),
        (b"a", "bytes"),
        (int, "type"),
        (10**5000, "Exceeds the limit"),
        (np.zeros(9 * 2**20), "75,497,472 bytes, which is too much"),
        ("a" * 9 * 2**20, "which is too much"),
    ],
    ids=lambda x: x[:20] if isinstance(x, str) else type(x).__name__,
)
def test_what_cannot_be_sent_is_said(value, said):
    with pytest.raises(Uncodable, match=said):
        Values().write(value)


def test_depth_has_an_end_both_ways():
    deep = []
    for _ in range(60):
        deep = [deep]
    with pytest.raises(Uncodable, match="nested more than 50 deep"):
        Values().write(deep)
    for text in ('["list",' * 60 + "1" + "]" * 60, "[" * 10**6, '{"a":' * 60 + "1" + "}" * 60):
        with pytest.raises(Malformed):
            Values().read(text.encode(), b"")


HOSTILE: list = [
    ["array", "<f8", [2], "C"],  # without its numbers
    ["array", "<f8", [-1], "C"],
    ["array", "<f8", [2**62, 0], "C"],
    ["array", "<f8", [0] * 33, "C"],
    ["array", "<f8", [True], "C"],
    ["array", "<f8", [1.0], "C"],
    ["array", "<f8", "ab", "C"],
    ["array", "O", [1], "C"],
    ["array", "|O8", [1], "C"],
    ["array", "V8", [1], "C"],
    ["array", "<f3", [1], "C"],
    ["array", "<f8"],
    ["array", [["a", "<f8"]], [1], "C"],
    ["scalar", "<f8"],
    ["complex", "1", None],
    ["complex", 1],
    ["generator", {"bit_generator": "seed"}],
    ["generator", 3],
    ["generator"],
    ["nothing", 1],
    [1, 2],
    [["list"]],
    [],
    {"a": ["nothing"]},
]


@pytest.mark.parametrize("tree", HOSTILE, ids=str)
@pytest.mark.parametrize("generators", [False, True])
def test_what_was_not_written_by_it_is_refused(tree, generators):
    if not generators and tree in (HOSTILE[16], HOSTILE[17]):
        assert Values().read(json.dumps(tree).encode(), b"") is None
        return
    with pytest.raises(Malformed):
        Values(generators=generators).read(json.dumps(tree).encode(), b"")


@pytest.mark.parametrize("text", [b"", b"{", b"\xff", b"nothing", b"1" * 5000, b'{"a": 1}x'])
def test_what_is_no_json_is_refused(text):
    with pytest.raises(Malformed):
        Values().read(text, b"")


def test_numbers_that_belong_to_no_array_are_refused():
    with pytest.raises(Malformed, match="more numbers than arrays"):
        Values().read(b"1", b"12345678")


def test_a_half_of_a_pair_becomes_a_question_mark_that_every_file_can_hold():
    found = Values().read(json.dumps({"\ud800": "a\udfff"}).encode(), b"")
    assert found == {"?": "a?"}


# ---- frames


def test_frames_come_one_after_the_other_with_their_numbers():
    pipe = io.BytesIO()
    send(pipe, 1, Values().write(np.arange(3)))
    send(pipe, 2, Values().write("b"))
    pipe.seek(0)
    number, *message = receive(pipe)
    assert number == 1 and Values().read(*message).tolist() == [0, 1, 2]
    number, *message = receive(pipe)
    assert number == 2 and Values().read(*message) == "b"
    with pytest.raises(EOFError):
        receive(pipe)


@pytest.mark.parametrize(
    "sent, error",
    [
        (b'{"outcome": {"passed": true}}\n' * 3, Malformed),
        (HEAD.pack(MAGIC, 1, 2**40, 0), Malformed),
        (HEAD.pack(MAGIC, 1, 0, 2**63), Malformed),
        (HEAD.pack(MAGIC, 1, 5, 0) + b"1", EOFError),
        (HEAD.pack(MAGIC, 1, 1, 5) + b"1", EOFError),
        (MAGIC, EOFError),
    ],
)
def test_a_frame_that_is_forged_giant_or_cut_is_refused(sent, error):
    with pytest.raises(error):
        receive(io.BytesIO(sent))


def test_no_more_than_a_part_is_asked_for_before_it_has_come():
    class Pipe(io.BytesIO):
        asked = 0

        def read(self, size):
            self.asked = max(self.asked, size)
            return super().read(size)

    pipe = Pipe(HEAD.pack(MAGIC, 1, 0, codec.ARRAY_BYTES))
    with pytest.raises(EOFError):
        receive(pipe)
    assert pipe.asked <= 2**20


@given(st.binary(max_size=200), st.binary(max_size=40))
def test_whatever_bytes_come_they_are_a_value_or_malformed(text, arrays):
    for message in (text, b'["array","<f8",' + text, b'["list",' + text + b"]"):
        with contextlib.suppress(Malformed):
            Values(generators=True).read(message, arrays)
    with pytest.raises((Malformed, EOFError)):
        receive(io.BytesIO(struct.pack(">I", 7) + text))
