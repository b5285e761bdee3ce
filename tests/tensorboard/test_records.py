"""Records of the CAM tab: what is written is what is read, and nothing but a whole record is read."""

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.tensorboard_server import PLACES, half_precision, maps_of, probe_of

from keras_cam.tensorboard import records

RECORD = maps_of(3)
HEADER, NUMBERS = records.encode_maps(RECORD)
MEASURES = {"energy_inside": {"label": "energy", "about": "inside"}, "p": {"label": "p", "about": None}}
(SUMMARY,) = records.encode_epoch(2, [probe_of(), probe_of("probe_01")], measures=MEASURES)

JSONS = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
)


def header(**changes):
    """The header of a sound record with some parts changed."""
    return json.dumps(json.loads(HEADER) | changes).encode()


def read(decode, strings):
    """What decode makes of the strings; None where it refuses them, which it may with ValueError only."""
    try:
        return decode(strings)
    except ValueError as error:
        assert str(error)
        return None


def test_maps_are_read_as_they_were_written():
    found = records.decode_maps([HEADER, NUMBERS])
    assert found.maps.dtype == np.dtype("<f4")
    np.testing.assert_array_equal(found.maps, RECORD.maps)
    assert found.maps[1, 1, 2] == 300 + 11 - 2.5
    assert found[1:] == RECORD[1:]
    assert len(NUMBERS) == 2 * 2 * 3 * 4


def test_half_precision_halves_the_bytes_and_is_read_as_float32():
    strings = half_precision(RECORD)
    found = records.decode_maps(strings)
    assert len(strings[1]) == len(NUMBERS) // 2 and found.maps.dtype == np.dtype("<f4")
    np.testing.assert_allclose(found.maps, RECORD.maps, atol=0.25)  # 16 bits at 300 are a quarter apart


def test_maps_of_any_layout_and_numbers_of_numpy_are_written():
    maps = np.arange(24, dtype=">f8").reshape(3, 2, 4).transpose(0, 2, 1)
    places = {"placement": ((np.float32(0.5), np.float64(2)), (1, 3)), "field": (np.int64(3), 4), "size": (9, 8)}
    found = records.decode_maps(records.encode_maps(records.MapsRecord(maps, tuple(np.arange(3)), **places)))
    np.testing.assert_array_equal(found.maps, maps)
    assert found.classes == (0, 1, 2) and found.placement == ((0.5, 2.0), (1.0, 3.0)) and found.field == (3.0, 4.0)


def test_maps_that_are_no_numbers_stay_so():
    maps = np.array([[[np.nan, np.inf], [-np.inf, -1]]], "<f4")
    found = records.decode_maps(records.encode_maps(records.MapsRecord(maps, (0,), **PLACES)))
    np.testing.assert_array_equal(found.maps, maps)


@pytest.mark.parametrize(
    "changes",
    [
        {"v": 2},
        {"shape": [2, 2, 4]},
        {"shape": [2, 2]},
        {"shape": [-2, -2, 3]},
        {"shape": [0, 2, 3]},
        {"shape": [12, 1, 1.0]},
        {"shape": [True, 4, 3]},
        {"shape": "213"},
        {"shape": [4097, 2, 3]},
        {"dtype": "<f8"},
        {"dtype": "O"},
        {"dtype": ["<f4"]},
        {"classes": [4]},
        {"classes": [4, 7.5]},
        {"classes": [4, 2**40]},
        {"classes": None},
        {"placement": [[0, 1]]},
        {"placement": [[0, 1], [0, 0]]},
        {"placement": [[float("nan"), 1], [0, 1]]},
        {"placement": [[0, 1], [0, float("inf")]]},
        {"placement": [[0, 1], [0, 10**400]]},
        {"placement": [[0, 1], None]},
        {"placement": {"0": [0, 1], "1": [0, 1]}},
        {"field": [3]},
        {"field": [-1, 3]},
        {"field": ["3", 3]},
        {"size": [40, 0]},
        {"size": [40, 2**20]},
        {"size": [40.5, 30]},
    ],
    ids=str,
)
def test_a_header_that_is_not_what_it_says_is_refused(changes):
    assert read(records.decode_maps, [header(), NUMBERS]) is not None
    assert read(records.decode_maps, [header(**changes), NUMBERS]) is None


@pytest.mark.parametrize("part", sorted(json.loads(HEADER)))
def test_each_part_of_a_header_is_needed(part):
    parts = json.loads(HEADER)
    del parts[part]
    assert read(records.decode_maps, [json.dumps(parts).encode(), NUMBERS]) is None


def test_a_place_that_is_not_finite_when_written_is_refused_when_read():
    bad = RECORD._replace(placement=((float("nan"), 1.0), (0.0, 1.0)))
    assert read(records.decode_maps, records.encode_maps(bad)) is None


@pytest.mark.parametrize("decode", [records.decode_maps, records.decode_epoch])
@pytest.mark.parametrize(
    "strings",
    [
        [],
        [b""],
        [b"{}", b""],
        [b"", b"", b""],
        b"{}",
        "{}",
        None,
        [1.5, 2.5],
        ["{}", "{}"],
        np.zeros(2),
        [b"[" * 100_000, b""],
        [b"[" * 100_000],
        [b'{"v": ' + b"1" * 5000 + b"}"],
        [b"\xff\xfe\xfd", b""],
        [b"null"],
    ],
    ids=lambda strings: repr(strings)[:20],
)
def test_anything_but_the_strings_of_a_record_is_refused(decode, strings):
    assert read(decode, strings) is None


@given(st.integers(0, len(HEADER)), st.binary(max_size=6), st.integers(0, 6), st.binary(max_size=60) | st.just(NUMBERS))
@settings(deadline=None)
def test_damaged_bytes_of_maps_are_a_value_error_or_a_whole_record(where, put, cut, numbers):
    found = read(records.decode_maps, [HEADER[:where] + put + HEADER[where + cut :], numbers])
    if found is not None:
        count, height, width = found.maps.shape
        assert count * height * width * 4 in (len(numbers), 2 * len(numbers)) and len(found.classes) == count
        assert all(np.isfinite(value) for pair in (*found.placement, found.field) for value in pair)


@given(st.integers(0, len(SUMMARY)), st.binary(max_size=6), st.integers(0, 6))
@settings(deadline=None)
def test_damaged_bytes_of_a_summary_are_a_value_error_or_a_sound_one(where, put, cut):
    found = read(records.decode_epoch, [SUMMARY[:where] + put + SUMMARY[where + cut :]])
    if found is not None:
        assert_sound(found)


@given(st.sampled_from(sorted(json.loads(HEADER))), JSONS)
@settings(deadline=None)
def test_any_json_in_a_header_is_a_value_error_or_a_whole_record(part, value):
    read(records.decode_maps, [header(**{part: value}), NUMBERS])


@given(st.sampled_from([*sorted(probe_of()), "probes", "epoch", "measures", "v"]), JSONS)
@settings(deadline=None)
def test_any_json_in_a_summary_is_a_value_error_or_a_sound_one(part, value):
    changed = (
        {part: value} if part in ("probes", "epoch", "measures", "v") else {"probes": [probe_of() | {part: value}]}
    )
    found = read(records.decode_epoch, [json.dumps({"v": 1, "epoch": 0, "probes": []} | changed).encode()])
    if found is not None:
        assert_sound(found)


def assert_sound(summary):
    """A summary that the page can draw without looking twice."""
    json.dumps(summary, allow_nan=False)
    for measure in summary["measures"].values():
        assert isinstance(measure["label"], str) and measure["about"] in ("heat", "inside", None)
    for probe in summary["probes"]:
        assert sorted(probe) == sorted(probe_of())
        assert records.PROBE.match(probe["probe"]) and len(probe["p"]) == len(probe["classes"])
        assert isinstance(probe["name"], str) and isinstance(probe["group"], str)
        assert all(len(box) == 4 for box in probe["boxes"])
        assert all(type(index) is int and np.isfinite(p) for index, p in probe["top"])
        assert all(np.isfinite(value) for value in probe["numbers"].values())


def test_a_summary_is_read_as_it_was_written():
    found = records.decode_epoch([SUMMARY])
    probes = [probe_of(), probe_of("probe_01")]
    assert found == {"v": 1, "epoch": 2, "unit": "epoch", "measures": MEASURES, "probes": probes}
    assert records.decode_epoch(records.encode_epoch(300, [], "batch"))["unit"] == "batch"


def test_what_a_summary_does_not_say_is_empty_and_what_nobody_knows_is_left_out():
    said = {"v": 1, "epoch": 0, "more": 1, "probes": [{"probe": "probe_99999", "classes": [1, 2], "more": 1}]}
    (probe,) = records.decode_epoch([json.dumps(said).encode()])["probes"]
    assert probe == {
        "probe": "probe_99999",
        "group": "",
        "name": "",
        "image": "",
        "true": None,
        "predicted": None,
        "picture": None,
        "heat_of": None,
        "inside_of": None,
        "classes": [1, 2],
        "names": {},
        "p": [None, None],
        "p_true": None,
        "top": [],
        "boxes": [],
        "numbers": {},
    }


def test_numbers_that_are_none_become_null_or_are_left_out():
    numbers = {"energy_inside": float("nan"), "moved_since_last": np.float32(0.5), "concentration": np.inf}
    summary = records.encode_epoch(1, [probe_of(p=np.array([np.nan, 0.5], "f4"), true=np.int64(4), numbers=numbers)])
    (probe,) = records.decode_epoch(summary)["probes"]
    assert probe["p"] == [None, 0.5] and probe["numbers"] == {"moved_since_last": 0.5} and probe["true"] == 4


def test_a_summary_of_old_says_nothing_of_its_measures():
    old = {"v": 1, "epoch": 0, "probes": [probe_of()]}
    found = records.decode_epoch([json.dumps(old).encode()])
    assert found["measures"] == {} and found["probes"] == [probe_of()]


@pytest.mark.parametrize(
    "measure", [None, "energy", {}, {"label": 1}, {"label": "energy", "about": "heatmap"}, {"label": "p", "about": []}]
)
def test_a_wrong_measure_is_refused(measure):
    assert read(records.decode_epoch, records.encode_epoch(0, [], measures={"energy": measure})) is None


@pytest.mark.parametrize(
    "changes",
    [
        {"probe": "probe_"},
        {"probe": "probe_123456"},
        {"probe": "probe_00\n"},
        {"probe": "probe_٣"},
        {"probe": "../probe_00"},
        {"classes": None},
        {"classes": [1.5, 2]},
        {"p": [0.5]},
        {"p": [0.5, "0.5"]},
        {"p_true": "high"},
        {"true": 1.5},
        {"predicted": "7"},
        {"name": None},
        {"group": 3},
        {"image": 5},
        {"heat_of": "4"},
        {"inside_of": 0.5},
        {"top": {"4": 0.5}},
        {"top": [[4]]},
        {"top": [[4.5, 0.5]]},
        {"top": [["4", 0.5]]},
        {"top": [[4, None]]},
        {"names": {"4": 4}},
        {"names": ["cat"]},
        {"boxes": [[1, 2, 3]]},
        {"boxes": [[1, 2, 3, None]]},
        {"boxes": {"left": 1}},
        {"numbers": {"energy_inside": "0.5"}},
        {"numbers": {"energy_inside": 1e300}},
        {"numbers": [0.5]},
    ],
    ids=str,
)
def test_a_wrong_probe_is_refused(changes):
    assert read(records.decode_epoch, records.encode_epoch(0, [probe_of() | changes])) is None


def test_names_of_classes_are_kept_whatever_they_are():
    hostile = {"0": "<script>alert(1)</script>", "1": "x" * 10_000, "2": "\u202eאב", "3": "🐈\x00", "4": "\ud800"}
    (probe,) = records.decode_epoch(records.encode_epoch(0, [probe_of(names=hostile)]))["probes"]
    assert probe["names"] == hostile


@pytest.mark.parametrize("kind", [records.PICTURES, records.MAPS, records.EPOCHS])
def test_the_metadata_of_a_tag_say_what_it_holds(kind):
    assert records.kind_of(records.content_of(kind)) == kind


@pytest.mark.parametrize(
    "content",
    [b"", b"{", b"[]", b'"maps"', b'{"v": 2, "kind": "maps"}', b'{"v": 1, "kind": ["maps"]}', b"\xff", b"[" * 100_000],
    ids=lambda content: repr(content)[:20],
)
def test_other_metadata_say_nothing(content):
    assert records.kind_of(content) is None


def test_ids_and_tags():
    assert [records.probe_id(index) for index in (0, 9, 123)] == ["probe_00", "probe_09", "probe_123"]
    assert records.tag_of("probe_00", records.MAPS) == "keras_cam/probe_00/maps"
