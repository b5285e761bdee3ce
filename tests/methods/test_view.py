"""What a method is shown of a batch, each fact by another way to it."""

import keras
import numpy as np
import pytest
from keras import layers, ops
from support import zoo

from keras_cam import explain, targets
from keras_cam.attribution.resample import stretch
from keras_cam.errors import UnsupportedModelError

RNG = np.random.default_rng(0)
IMAGES = RNG.uniform(size=(3, 6, 8, 2)).astype("float32")
CLASSES = [2, 0]


def array(tensor):
    return ops.convert_to_numpy(tensor)


@pytest.fixture(scope="module")
def model():
    keras.utils.set_random_seed(3)
    x = inputs = keras.Input(IMAGES.shape[1:])
    x = layers.Conv2D(4, 3, activation="relu", bias_initializer="normal", name="cells")(x)
    return keras.Model(inputs, layers.Dense(5, activation="softmax")(layers.Flatten()(x)))


def shown(model, ask, images=IMAGES, **options):
    """What a function gives of the view of these images, and the explanation."""
    found = []

    def method(view):
        found.append(ask(view))
        return ops.zeros((*view.class_indices.shape, *view.features.shape[1:-1]))

    result = explain(model, images, **{"classes": CLASSES, "method": method, **options})
    return found[0], result


pytestmark = pytest.mark.filterwarnings("ignore::keras_cam.CAMWarning")  # maps of zeros


def test_facts_of_a_view(model):
    (images, features, scores, of_all, indices), result = shown(
        model, lambda view: (view.images, view.features, view.scores, view.all_scores, view.class_indices)
    )
    np.testing.assert_allclose(array(images), IMAGES)
    expected = keras.Model(model.inputs, model.get_layer("cells").output).predict(IMAGES, verbose=0)
    np.testing.assert_allclose(array(features), expected, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(array(of_all), result.logits, rtol=1e-5)
    np.testing.assert_allclose(array(scores), result.logits[:, CLASSES], rtol=1e-5)
    assert array(indices).tolist() == [CLASSES] * 3


def test_scores_are_those_of_the_target(model):
    scores, result = shown(model, lambda view: view.scores, target=targets.margin(1))
    np.testing.assert_allclose(array(scores), result.logits[:, CLASSES], rtol=1e-5)
    plain, _ = shown(model, lambda view: view.all_scores)
    np.testing.assert_allclose(array(scores), (array(plain) - array(plain)[:, 1:2])[:, CLASSES], rtol=1e-4, atol=1e-5)


def test_gradients_are_linear_in_the_scores(model):
    def ask(view):
        weights = ops.one_hot(view.class_indices, 5)
        return view.gradients(), view.gradients(weights), view.gradients(3 * weights)

    (chosen, same, tripled), _ = shown(model, ask)
    assert tuple(chosen.shape) == (3, 2, 4, 6, 4)
    np.testing.assert_allclose(array(same), array(chosen), rtol=1e-5)
    np.testing.assert_allclose(array(tripled), 3 * array(chosen), rtol=1e-5)


def test_one_gradient_stands_for_all_cells_of_a_pooled_map():
    (one, every), _ = shown(
        zoo.model("functional"),
        lambda view: (view.gradients(per_cell=False), view.gradients()),
        zoo.inputs("functional"),
    )
    assert tuple(one.shape[2:-1]) == (1, 1) and all(length > 1 for length in every.shape[2:-1])
    np.testing.assert_allclose(array(every), np.broadcast_to(array(one), every.shape))


def test_the_same_view_of_other_images(model):
    changed, _ = shown(model, lambda view: view.at(view.images / 2))
    expected, _ = shown(model, lambda view: view, IMAGES / 2)
    np.testing.assert_allclose(array(changed.features), array(expected.features), rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(array(changed.scores), array(expected.scores), rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(array(changed.gradients()), array(expected.gradients()), rtol=1e-4, atol=1e-6)


def test_one_channel_at_a_time(model):
    """Ablated, and by images that are changed by it: each image its own channels, in batches that do not divide."""
    channels = np.array([[0, 3], [1, 2], [2, 0]])

    def ask(view):
        view.batch_size = 4
        return view.ablate(channels), view.rescore(darker, channels, dimming), view.scores

    (ablated, rescored, scores), _ = shown(model, ask)
    kernel, bias = model.layers[-1].get_weights()
    features = keras.Model(model.inputs, model.get_layer("cells").output).predict(IMAGES, verbose=0)
    assert ablated.shape == rescored.shape == (3, 2, 2)
    for image in range(3):
        for column, channel in enumerate(channels[image]):
            without = features[image].copy()
            without[..., channel] = 0
            np.testing.assert_allclose(
                ablated[image, :, column], (without.ravel() @ kernel + bias)[CLASSES], rtol=1e-4, atol=1e-5
            )
    halved, _ = shown(model, lambda view: view.scores, IMAGES / 2)
    np.testing.assert_allclose(rescored, np.repeat(array(halved)[..., None], 2, axis=2), rtol=1e-4, atol=1e-5)
    assert np.abs(ablated - array(scores)[..., None]).max() > 1e-3


def darker(images, channel, share):
    return images * ops.reshape(share, (-1, 1, 1, 1))


def dimming(step, batch):
    return np.full(len(batch), 0.5)


def test_maps_of_several_feature_maps_are_added_up():
    model, inputs = zoo.model("two scales"), zoo.inputs("two scales")

    def ask(view):
        views = view.feature_maps()
        maps = [ops.ones((3, 1, *each.features.shape[1:-1])) for each in views]
        return [tuple(each.features.shape[1:-1]) for each in views], view.add_on_finest_grid(maps)

    (grids, total), _ = shown(model, ask, inputs, classes=0)
    assert len(set(grids)) == 2 and tuple(total.shape[2:]) == max(grids)
    np.testing.assert_allclose(array(total).mean(axis=(2, 3)), 2, rtol=1e-5)  # every mean is kept


def test_a_view_at_one_feature_map_has_itself_alone(model):
    views, _ = shown(model, lambda view: (view, view.feature_maps()))
    assert len(views[1]) == 1
    np.testing.assert_array_equal(array(views[1][0].features), array(views[0].features))


def test_maps_are_stretched_over_the_images(model):
    def ask(view):
        maps = view.features[:, None, ..., 0]
        return maps, view.stretched(maps)

    (maps, stretched), _ = shown(model, ask)
    assert tuple(stretched.shape) == (3, 1, 6, 8)
    np.testing.assert_allclose(array(stretched), array(stretch(maps, (6, 8), 2)))


def test_steps_are_counted_with_a_bar_where_that_is_asked_for(model, capsys):
    for verbose in (0, 1):
        steps, _ = shown(model, lambda view: list(view.steps(3)), verbose=verbose)
        assert steps == [0, 1, 2] and ("3/3" in capsys.readouterr().out) == bool(verbose)


def test_pixels_that_are_not_there_are_named():
    with pytest.raises(UnsupportedModelError, match=r"works on the pixels.*\(None, 96\)"):
        shown(zoo.model("flat pixels"), lambda view: view.image_gradients(), zoo.inputs("flat pixels"))
