"""A named diagnosis instead of a black picture: each finding on a network that earns it, and none on a sound one."""

import re

import keras
import numpy as np
import pytest
from support.zoo_parts import after_pooling, dense

from keras_cam import CAMWarning, Explanation, InvalidImageError, compute_cam, explain

layers = keras.layers
IMAGES = np.random.default_rng(0).uniform(size=(3, 16, 16, 3)).astype("float32")
BYTES = (IMAGES * 255).astype("uint8")
BYTES[:, 0, :2] = [[0, 0, 0], [255, 255, 255]]


def network(*, kernel=None, bias=None, activation="softmax", size=(16, 16, 3), first=()):
    model = keras.Sequential(
        [
            keras.Input(size),
            *first,
            layers.Conv2D(4, 3, activation="relu", kernel_initializer="ones", name="conv"),
            layers.GlobalAveragePooling2D(),
            layers.Dense(2, activation=activation, name="scores"),
        ],
        name="net",
    )
    scores = model.get_layer("scores")
    kernel = np.array([[0.01, -0.01]] * 4) if kernel is None else kernel
    scores.set_weights([kernel, np.zeros(2) if bias is None else bias])
    return model


def names(result):
    return [finding.name for finding in result.diagnosis]


def test_a_sound_result_has_no_findings():
    assert explain(network(), IMAGES, classes=[0]).diagnosis == ()


def test_a_zero_map():
    """Zero weights are told apart from dead features."""
    model = network(kernel=np.array([[0.0, 1.0]] * 4))
    words = (
        r"'net'.*map of image 0 is zero everywhere: the weights of 'class 0' in the head are all zero.*3 of 3 images"
    )
    with pytest.warns(CAMWarning, match=words):
        result = explain(model, IMAGES, classes=[0])
    assert names(result) == ["zero_map"] and result.diagnosis[0].images == (0, 1, 2)
    assert not result.heatmaps()[0].any()


def test_a_dead_relu_in_one_image():
    model = network()
    images = IMAGES.copy()
    images[1] = 0
    with pytest.warns(
        CAMWarning, match="image 1 is zero everywhere: the features of 'conv' are zero wherever.*dead ReLU"
    ):
        result = explain(model, images)
    assert result.diagnosis[0].images == (1,)


def test_a_dead_relu_for_one_class_of_a_sigmoid_unit():
    model = keras.Sequential(
        [
            keras.Input((16, 16, 3)),
            layers.Conv2D(4, 3, activation="relu", bias_initializer=keras.initializers.Constant(-9), name="conv"),
            layers.GlobalAveragePooling2D(),
            layers.Dense(1, activation="sigmoid"),
        ]
    )
    with pytest.warns(CAMWarning, match=r"the features of 'conv' are zero wherever 'class 1' has a weight"):
        assert explain(model, IMAGES, classes=[1]).diagnosis[0].images == (0, 1, 2)


def test_dead_features_behind_a_head_whose_weights_vary_with_the_picture():
    model = network()
    model.get_layer("conv").set_weights([np.zeros((3, 3, 3, 4)), -np.ones(4)])
    scores = layers.Dense(2)(layers.Dense(5, activation="relu")(model.layers[-2].output))
    with pytest.warns(CAMWarning, match=r"the features of 'conv' or their weights are all zero \(a dead ReLU, say\)"):
        explain(keras.Model(model.inputs, scores), IMAGES)


def test_all_evidence_negative_is_drawn_empty_and_says_why():
    result = explain(network(bias=np.array([0.0, 3.0])), IMAGES, classes=[1], class_names=["cat", "dog"])
    assert names(result) == ["nothing_positive"]
    assert "speaks against 'dog', whose score comes from the bias (3)" in result.diagnosis[0].words
    assert "signed=True" in result.diagnosis[0].words
    assert not np.stack(result.heatmaps()).any()


def test_a_map_that_comes_out_empty_is_warned_of():
    """Report 4 of docs/reports.md: no silent zero, and nothing to warn of where there is something to see."""
    model = network(bias=np.array([0.0, 3.0]))
    with pytest.warns(CAMWarning, match="'net': Everything in image 1 speaks against 'class 1'") as caught:
        assert not compute_cam(model, IMAGES, np.array([0, 1, 0]))[1].any()
    assert len(caught) == 1 and caught[0].filename == __file__
    assert compute_cam(model, IMAGES, 0).all(axis=0).any()
    assert compute_cam(model, IMAGES, 1, normalize=None).max() < 0
    assert compute_cam(model, IMAGES, 1, normalize="minmax").max() == 1
    assert not compute_cam(model, IMAGES, "all")[1, 1].any()  # of all classes some are always empty


def test_a_notebook_names_empty_maps_and_what_was_found():
    result = explain(network(bias=np.array([0.0, 3.0])), IMAGES, classes=[0, 1], class_names=["cat", "a <b>"])
    shown = result._repr_html_()
    captions = re.findall(r"<figcaption>(.*?)</figcaption>", shown)
    assert len(captions) == 9 and all(
        re.fullmatch(r"a &lt;b&gt; \d+\.\d% \(empty map\)", each) for each in captions[2::3]
    )
    assert "speaks against &#x27;a &lt;b&gt;&#x27;, whose score comes from the bias (3)" in shown
    assert "(empty map)" not in explain(network(), IMAGES, classes=[0])._repr_html_()


def test_cells_of_unknown_place():
    model = network(size=(16, 16, 3), first=[layers.Lambda(lambda x: keras.ops.roll(x, 3, 1))])
    result = explain(model, IMAGES, classes=[0])
    assert names(result) == ["place_unknown"] and result.diagnosis[0].images == (0, 1, 2)
    assert "of 'conv' look cannot be read from the model: 'conv' (Conv2D) reads" in result.diagnosis[0].words
    assert "a rolled image. They are drawn as if they shared it" in result.diagnosis[0].words


def test_one_cell_and_few_cells():
    one = explain(network(size=(3, 3, 3)), IMAGES[:, :3, :3], classes=[0])
    assert names(one) == ["one_cell"] and "layer=" in one.diagnosis[0].words
    few = explain(network(size=(5, 16, 3)), IMAGES[:, :5], classes=[0])
    assert names(few) == ["few_cells"] and "3 x 14 cells: a cell stands for 33%" in few.diagnosis[0].words


def test_an_object_within_one_cell():
    """A dot of 5 x 5 pixels, where a cell is 8 x 8, and a large object that is none."""
    model = keras.Sequential(
        [
            keras.Input((64, 64, 3)),
            layers.Conv2D(4, 8, 8, kernel_initializer="ones"),
            layers.GlobalAveragePooling2D(),
            layers.Dense(2, kernel_initializer="ones"),
        ]
    )
    images = np.zeros((2, 64, 64, 3), "float32")
    images[0, 20:50, 10:60] = 1
    images[1, 17:22, 41:46] = 1
    result = explain(model, images, classes=[0], class_names=["ball", "cube"])
    assert names(result) == ["within_a_cell"] and result.diagnosis[0].images == (1,)
    assert "100% of what speaks for 'ball' in image 1 lies in one of 8 x 8 cells" in result.diagnosis[0].words
    assert "layer=" in result.diagnosis[0].words


def test_a_saturated_softmax_still_has_its_map():
    result = explain(network(kernel=np.array([[9.0, -9.0]] * 4)), IMAGES, classes=[0])
    assert names(result) == ["saturated"] and "1.0000000" in result.diagnosis[0].words
    assert np.stack(result.heatmaps()).max() == 1


def test_a_sure_softmax_is_not_yet_saturated():
    """Its gradient is small, but no rounding error: 1 - p is 2e-6, and then 5e-7."""
    for margin, found in ((13.1, []), (14.5, ["saturated"])):
        model = network(kernel=np.zeros((4, 2)) + 1e-9, bias=np.array([margin, 0.0]))
        assert names(explain(model, IMAGES, classes=[0])) == found


def test_images_of_0_to_255_in_a_network_that_does_not_rescale():
    model = network(activation=None)
    result = explain(model, BYTES, classes=[0])
    assert names(result) == ["not_scaled"] and "preprocess=" in result.diagnosis[0].words
    scaled = explain(model, BYTES, classes=[0], preprocess=lambda batch: batch / 255)
    assert scaled.diagnosis == ()


@pytest.mark.parametrize(
    "scale", [lambda each: (each - 0.45) / 0.225, lambda each: 5 * each, lambda each: 99 * each - 9]
)
def test_images_of_a_mean_of_0_are_scaled(scale):
    """ImageNet's -2.1 to 2.6, z-scored scans: a network that has no Rescaling layer takes them as they are."""
    assert "not_scaled" not in names(explain(network(activation=None), scale(IMAGES), classes=[0]))


def test_images_scaled_before_a_network_that_rescales():
    model = network(activation=None, first=[layers.Rescaling(1 / 255)])
    assert names(explain(model, IMAGES, classes=[0])) == ["scaled_twice"]
    assert explain(model, BYTES, classes=[0]).diagnosis == ()


@pytest.mark.filterwarnings("ignore::keras_cam.CAMWarning")  # of dead ReLUs, which come of it
@pytest.mark.parametrize(
    "first", [layers.Rescaling(1 / 127.5, offset=-1), layers.Normalization(mean=[124, 117, 104], variance=[3400] * 3)]
)
def test_an_inverted_range(first):
    """A network that takes 0..255 and is fed what has been shifted below zero: what is black is no longer 0."""
    model = network(activation=None, first=[first])
    for shifted, name, words in (
        (lambda batch: batch / 127.5 - 1, "scaled_twice", "values of -1 to 1 and rescales its input itself"),
        (lambda batch: batch - 120, "negative_values", "values of -120 to 135 and rescales its input itself"),
        (lambda batch: (batch / 255 - 0.45) / 0.225, "negative_values", "values of -2 to 2.44 and rescales its input"),
    ):
        result = explain(model, BYTES, classes=[0], preprocess=shifted)
        assert name in names(result)
        assert words in next(finding.words for finding in result.diagnosis if finding.name == name)
    resized = explain(model, BYTES, classes=[0], preprocess=lambda batch: batch * 1.1 - 12)  # bicubic, it overshoots
    assert not {"negative_values", "scaled_twice"}.intersection(names(resized))


def test_a_network_that_rescales_what_is_small_already():
    """Rescaling of [0, 1] to [-1, 1] takes no 0..255."""
    model = network(activation=None, first=[layers.Rescaling(2.0, offset=-1.0)], bias=np.full(2, 1.0))
    assert not {"scaled_twice", "negative_values", "not_scaled"}.intersection(
        names(explain(model, IMAGES, classes=[0]))
    )


def test_nan_in_an_image_is_an_error():
    with pytest.raises(InvalidImageError, match="NaN"):
        explain(network(), IMAGES * np.nan)


def test_a_finding_is_saved_with_the_result(tmp_path):
    result = explain(network(size=(3, 3, 3)), IMAGES[:, :3, :3], classes=[0])
    assert Explanation.load(result.save(tmp_path / "result")).diagnosis == result.diagnosis


def test_a_zero_map_is_named_with_its_reason():
    """Dead features: the map is zero, and the warning says of what and why."""
    model = after_pooling(dense())
    model.get_layer("conv_2").set_weights([np.zeros((3, 3, 4, 5)), -np.ones(5)])
    with pytest.warns(CAMWarning, match="zero everywhere: the features of 'conv_2'.*dead ReLU"):
        assert not compute_cam(model, IMAGES).any()
