"""The benchmark of the methods: its measures by hand, and a tiny run through all of it."""

from pathlib import Path

import keras
import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from benchmarks.faithfulness import area, deletion, drop_and_increase, exchanged, insertion, ranked_pixels
from benchmarks.forward_passes import CONTROL, Cost, measure_costs, scaled_down
from benchmarks.method_quality import BASELINE, BRIGHTNESS, FLIPPED, FUSED, SHALLOW_ROWS, drawn_head, measure, with_head
from benchmarks.methods_page import WORDS, cost_cell, cost_tables, fill, gain_cell, paper_of, quality_tables, rounded
from benchmarks.scenes import draw_scenes
from benchmarks.small_networks import build_network, train
from keras_cam import METHODS

PROJECT = Path(__file__).resolve().parents[2]
pytestmark = pytest.mark.usefixtures("tf")  # the unit of cost is a tf.function


def test_pixels_are_ranked_by_the_signed_map_and_equal_ones_by_lot():
    assert ranked_pixels(np.array([[0.5, -2.0], [3.0, 0.0]])).tolist() == [2, 0, 3, 1]
    flat = ranked_pixels(np.zeros((8, 8)))
    assert sorted(flat) == list(range(64)) and flat.tolist() != sorted(flat)
    assert_array_equal(flat, ranked_pixels(np.zeros((8, 8))))


def test_pictures_on_the_way_change_as_many_pixels_in_each_step():
    start, end = np.zeros((2, 3, 3), np.uint8), np.full((2, 3, 3), 9, np.uint8)
    way = exchanged(start, end, np.array([5, 0, 3, 1, 2, 4]), 3)
    assert way.shape == (4, 2, 3, 3) and way.dtype == np.uint8
    assert (way == 9).all(axis=-1).sum(axis=(1, 2)).tolist() == [0, 2, 4, 6]
    assert_array_equal(way[1, ..., 0], [[9, 0, 0], [0, 0, 9]])
    assert_array_equal(way[2, ..., 0], [[9, 9, 0], [9, 0, 9]])


def test_area_insertion_and_deletion_of_a_model_that_looks_at_one_pixel():
    assert (area(np.ones(5)), area(np.array([0.0, 1.0])), area(np.array([0.0, 1, 1]))) == (1, 0.5, 0.75)
    image = np.zeros((2, 2, 3), np.uint8)
    image[0, 1] = 200

    def sees_it(pictures):
        return (pictures[:, 0, 1, 0] == 200).astype(float)

    marked = np.array([[0.0, 1.0], [0.0, 0.0]])
    assert deletion(sees_it, image, marked, 4) == 0.125  # gone after the first of four steps
    assert deletion(sees_it, image, -marked, 4) == 0.875  # only after the last
    assert insertion(sees_it, image, marked, 4) == 0.875
    assert insertion(sees_it, image, -marked, 4) == 0.125


def test_drop_and_increase_by_hand():
    drop, increase = drop_and_increase([0.8, 0.5, 0.5, 0.4], [0.4, 0.6, 0.5, 0.1])
    assert_allclose(drop, 100 * (0.5 + 0 + 0 + 0.75) / 4)
    assert increase == 25


def test_costs_of_units_add_up_to_the_whole():
    plain = Cost("net", 1, "grad_cam", np.array([1.0, 1.2, 1.1]))
    assert_allclose(plain.per_unit, [1.05, 1.1, 1.15])
    assert_allclose(plain.in_all, 1.1)
    assert cost_cell(plain) == "1.10 (1.05 to 1.15)"
    parts = Cost("net", 8, "score_cam", np.array([5.0, 9.0, 7.0]), units=4, whole=100)
    assert_allclose(parts.per_unit, [1.25, 1.5, 1.75])
    assert parts.in_all == 151 and cost_cell(parts) == "1.50 (1.25 to 1.75) each, 151 for 100"
    assert [rounded(passes) for passes in (1.234, 12.34, 1234.5)] == ["1.23", "12.3", "1,234"]
    network = keras.Sequential([keras.Input((8, 8, 3)), keras.layers.GlobalAveragePooling2D(), keras.layers.Dense(2)])
    assert scaled_down("grad_cam", 8, network) == ({}, 0, 0)
    assert scaled_down("smooth_grad", 8, network) == ({"samples": 2}, 2, 25)
    assert scaled_down("score_cam", 8, network) == ({"max_channels": 4}, 4, 3)
    assert scaled_down("ss_cam", 8, network) == ({"samples": 2, "max_channels": 4}, 8, 30)


def test_forward_passes_are_measured_in_turns():
    control, cam, score_cam = measure_costs("MobileNetV2", [1], ["cam", "score_cam"], 0.01, side=32)
    assert (control.method, cam.method, score_cam.units, score_cam.whole) == (CONTROL, "cam", 32, 1280)
    assert all(len(cost.ratios) == 3 and (cost.ratios > 0).all() for cost in (control, cam, score_cam))
    assert np.median(score_cam.ratios) > np.median(cam.ratios)
    every = [type(cam)("MobileNetV2", 1, name, cam.ratios) for name in METHODS]
    tables = cost_tables([control, *every], "a machine", 1)
    assert tables["methods"].count("\n| `") == len(METHODS)
    assert "| forward pass | 1 | " in tables["cost"] and tables["cost"].startswith("a machine")


def test_there_are_words_for_every_method():
    assert list(WORDS) == list(METHODS)


@pytest.mark.parametrize("head", ["pooling", "two Dense", "flatten"])
def test_heads_share_the_body_and_their_weights_are_drawn_anew_for_a_while(head):
    body = build_network("ResNet-style", 3)
    network = with_head(body, head, 2)
    assert network.output_shape == (None, 2)
    convolutions = [
        [layer.kernel.numpy() for layer in model.layers if isinstance(layer, keras.layers.Conv2D)]
        for model in (body, network)
    ]
    assert len(convolutions[0]) == 5
    for one, other in zip(*convolutions, strict=True):
        assert_array_equal(one, other)
    before = network.get_weights()
    with drawn_head(network):
        kernel = network.layers[-1].kernel.numpy()
        assert np.abs(kernel - before[-2]).max() > 0.01
        assert_array_equal(network.get_weights()[0], before[0])
    for weights, restored in zip(before, network.get_weights(), strict=True):
        assert_array_equal(weights, restored)


def test_tiny_run_fills_the_tables():
    keras.utils.set_random_seed(0)
    network = with_head(build_network("ResNet-style", 4), "pooling", 4)
    train(network, draw_scenes(32, 0), 1, 0)
    rows = {name: (name, {}) for name in ("auto", "grad_cam", "layer_cam", "eigen_cam", "random_cam")}
    run = measure(network, "drawn scenes", "pooling", draw_scenes(16, 1000), 2, rows)
    assert list(run.scores) == [*rows, BASELINE] and list(run.elsewhere) == [*SHALLOW_ROWS, FUSED, FLIPPED, BRIGHTNESS]
    shares = np.stack(list(run.scores.values()))
    assert shares.shape == (6, 9) and (shares[:, :5] >= 0).all() and (shares[:, :5] <= 1).all()
    assert_allclose(run.scores["grad_cam"], run.scores["auto"], atol=1e-3)  # the same map on a pooling head
    assert run.scores["eigen_cam"][7] == pytest.approx(1), "the same map for both classes"
    assert run.scores["eigen_cam"][8] == pytest.approx(1), "whatever the head"
    assert run.scores["auto"][8] < 0.9
    assert run.elsewhere[BRIGHTNESS][1] > 0.9, "objects are lighter than their grounds"
    tables = quality_tables([run, run], "no photographs", "a machine", 2.0)
    page = "".join(f"<!-- {name} by benchmarks/methods.py -->\n<!-- end of {name} -->\n" for name in tables)
    filled = fill(page, tables)
    assert fill(filled, tables) == filled and "| grad_cam | same | same | same | same |" in filled
    assert "(2 networks, 16 pictures, " in filled and "no photographs" in filled
    with pytest.raises(SystemExit, match="no place for the table 'quality'"):
        fill("", tables)


def test_gains_count_better_and_worse_networks():
    assert gain_cell(np.array([0.1, 0.2, -0.03])) == "+0.09 (2:1)"
    assert gain_cell(np.array([0.001, -0.002])) == "same"


@pytest.mark.parametrize("name", METHODS)
def test_the_page_has_a_row_for_every_method(name):
    """With the words and the cost that the table of methods has now, in both tables; measured when it was measured."""
    text, method, words = (PROJECT / "docs" / "methods.md").read_text("utf-8"), METHODS[name], WORDS[name]
    at = "pixels" if method.at_pixels else "cells"
    cells = (paper_of(name), words.weighs, at, words.tells_classes, words.needs or "-", method.cost)
    assert text.count(f"\n| {' | '.join(cells)} | ") == 1
    costs = text.partition("<!-- cost by benchmarks/methods.py -->")[2].partition("<!-- end of cost -->")[0]
    assert costs.count(f"\n| {name} | {method.cost} | ") == 1


def test_the_page_has_a_place_for_every_table():
    text = (PROJECT / "docs" / "methods.md").read_text("utf-8")
    for name in ("methods", "cost", "quality", "against", "layers", "photographs"):
        start, end = f"<!-- {name} by benchmarks/methods.py -->", f"<!-- end of {name} -->"
        assert text.index(start) + len(start) + 20 < text.index(end), name
