"""The drawn data set: what is said to be in a picture is there, and nothing else changes with a tag."""

import hashlib

import numpy as np
import pytest

from keras_cam.errors import InvalidOptionError
from keras_cam.shapes import CLASS_NAMES, TAGGED_CLASS, make_shapes


@pytest.fixture(scope="module")
def tagged():
    return make_shapes(80, seed=3, tag_share=1.0)


@pytest.fixture(scope="module")
def untagged():
    return make_shapes(80, seed=3)


def digest(shapes):
    return hashlib.sha256(shapes.images.tobytes()).hexdigest()


def test_shapes_and_dtypes(tagged):
    assert tagged.images.shape == (80, 64, 64, 3)
    assert tagged.masks.shape == (80, 64, 64)
    assert tagged.boxes.shape == tagged.tag_boxes.shape == (80, 4)
    assert (tagged.images.dtype, tagged.masks.dtype, tagged.labels.dtype) == (np.uint8, np.bool_, np.int64)
    assert len(tagged) == 80


def test_classes_take_turns(tagged):
    assert tagged.labels[:6].tolist() == [0, 1, 2, 3, 0, 1]
    assert np.bincount(tagged.labels).tolist() == [20] * len(CLASS_NAMES)


def test_same_seed_same_pictures_other_seed_others(tagged):
    assert digest(make_shapes(80, seed=3, tag_share=1.0)) == digest(tagged)
    assert digest(make_shapes(80, seed=4, tag_share=1.0)) != digest(tagged)


def test_a_picture_depends_on_its_own_index_alone(tagged):
    np.testing.assert_array_equal(make_shapes(5, seed=3, tag_share=1.0).images, tagged.images[:5])


def test_box_is_the_box_of_the_mask(tagged):
    for mask, (left, top, right, bottom) in zip(tagged.masks, tagged.boxes, strict=True):
        assert mask[top:bottom, left:right].sum() == mask.sum() > 0
        inside = mask[top:bottom, left:right]
        assert inside[0].any() and inside[-1].any() and inside[:, 0].any() and inside[:, -1].any()


def test_tag_changes_the_pixels_of_its_box_and_no_other(tagged, untagged):
    for with_tag, without, box in zip(tagged.images, untagged.images, tagged.tag_boxes, strict=True):
        left, top, right, bottom = box
        changed = (with_tag != without).any(axis=-1)
        outside = changed.copy()
        outside[top:bottom, left:right] = False
        assert not outside.any()
        assert not box.any() or changed[top:bottom, left:right].mean() > 0.9


def test_only_the_tagged_class_carries_the_tag(tagged, untagged):
    np.testing.assert_array_equal(tagged.tagged, tagged.labels == CLASS_NAMES.index(TAGGED_CLASS))
    assert not untagged.tagged.any()
    assert not untagged.tag_boxes.any()


def test_every_class_can_be_tagged():
    assert make_shapes(8, tag_share=1.0, tagged_class=None).tagged.all()
    star = CLASS_NAMES.index("star")
    assert make_shapes(8, tag_share=1.0, tagged_class="star").tagged.tolist() == [i % 4 == star for i in range(8)]


def test_share_of_tags():
    shapes = make_shapes(1600, size=48, tag_share=0.7)
    share = shapes.tagged[shapes.labels == CLASS_NAMES.index(TAGGED_CLASS)].mean()
    assert share == pytest.approx(0.7, abs=4 * np.sqrt(0.7 * 0.3 / 400))


@pytest.mark.parametrize("size", [48, 64, 97, 192])
def test_object_and_tag_lie_in_the_picture_and_apart(size):
    shapes = make_shapes(100, size=size, tag_share=1.0, tagged_class=None)
    for mask, (left, top, right, bottom) in zip(shapes.masks, shapes.tag_boxes, strict=True):
        assert 0 <= left < right <= size and 0 <= top < bottom <= size
        assert right <= size / 2 < top
        assert not mask[top:bottom, left:right].any()
        assert not (mask[0].any() or mask[-1].any() or mask[:, 0].any() or mask[:, -1].any())


def test_objects_of_all_classes_are_of_like_size(tagged):
    areas = [make_shapes(200).masks[label::4].mean() for label in range(len(CLASS_NAMES))]
    assert max(areas) / min(areas) < 1.8


def test_colour_alone_does_not_tell_the_classes_apart():
    shapes = make_shapes(400)
    means = shapes.images.mean(axis=(1, 2))
    of_class = np.stack([means[shapes.labels == label].mean(axis=0) for label in range(len(CLASS_NAMES))])
    assert of_class.std(axis=0).max() < 0.5 * means.std(axis=0).min()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"num_images": 0}, "num_images must be a whole number, 1 or more"),
        ({"num_images": 1, "size": 32}, "size must be a whole number, 48 or more"),
        ({"num_images": 1, "seed": -1}, "seed must be a whole number, 0 or more"),
        ({"num_images": 1, "tag_share": 1.5}, "tag_share must lie between 0 and 1"),
        ({"num_images": 1, "tagged_class": "horse"}, "tagged_class must be one of"),
    ],
)
def test_bad_arguments(arguments, message):
    with pytest.raises(InvalidOptionError, match=message):
        make_shapes(**arguments)
