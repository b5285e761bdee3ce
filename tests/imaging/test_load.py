"""Pictures at the door: what is taken, what is fed, and what is turned away."""

import numpy as np
import PIL.Image
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from keras_cam.errors import InvalidImageError, InvalidOptionError
from keras_cam.imaging.display import to_display
from keras_cam.imaging.load import load_images, resize, to_input

RGB = np.arange(2 * 3 * 3, dtype=np.uint8).reshape(2, 3, 3)


class Tensor:
    """What a torch tensor with a gradient looks like from outside."""

    def __init__(self, array):
        self.array = array

    def detach(self):
        return self

    def cpu(self):
        return self

    def numpy(self):
        return self.array


def write(path, image):
    image.save(path)
    return path


# what is taken


@pytest.mark.parametrize("dtype", ["uint8", "int64", "uint16", "float16", "float32", "float64", ">f4"])
def test_arrays_keep_values_and_dtype(dtype):
    (image,), single = load_images(RGB.astype(dtype))
    assert single and image.dtype == np.dtype(dtype)
    assert_array_equal(image, RGB)


def test_gray_gets_a_channel_axis_and_booleans_become_zero_and_one():
    (image,), single = load_images(np.array([[True, False]]))
    assert single and image.dtype == np.float32
    assert_array_equal(image, [[[1], [0]]])


def test_a_batch_of_one_is_still_a_batch():
    images, single = load_images(RGB[np.newaxis])
    assert not single and len(images) == 1
    assert_array_equal(images[0], RGB)


def test_a_list_may_mix_kinds_and_sizes(tmp_path):
    path = write(tmp_path / "a.png", PIL.Image.fromarray(RGB))
    images, single = load_images([path, str(path), PIL.Image.fromarray(RGB), Tensor(RGB), np.zeros((5, 4))])
    assert not single
    for image in images[:4]:
        assert_array_equal(image, RGB)
    assert images[4].shape == (5, 4, 1)


def test_tensors_of_tensorflow_and_keras():
    keras = pytest.importorskip("keras")
    (image,), _ = load_images(keras.ops.convert_to_tensor(RGB))
    assert_array_equal(image, RGB)
    (image,), _ = load_images(keras.ops.cast(RGB, "bfloat16"))
    assert image.dtype == np.float32
    assert_array_equal(image, RGB)


@pytest.mark.parametrize("mode", ["RGB", "RGBA", "P", "CMYK", "YCbCr", "L", "LA", "1", "I;16", "F"])
def test_every_kind_of_pil_image(mode):
    gray = PIL.Image.new("L", (3, 2), 255)
    picture = PIL.Image.fromarray(np.full((2, 3), 65535, np.uint16)) if mode == "I;16" else gray.convert(mode)
    (image,), single = load_images(picture)
    assert single
    assert image.shape == (2, 3, 1 if mode in ("L", "LA", "1", "I;16", "F") else 3)
    assert image.dtype == (np.float32 if mode == "F" else np.uint8)
    assert_allclose(image, 255, atol=1)


def test_transparency_shows_the_colours_below_it():
    (image,), _ = load_images(PIL.Image.new("RGBA", (1, 1), (10, 20, 30, 0)))
    assert_array_equal(image, [[[10, 20, 30]]])


def test_files_come_out_upright(tmp_path):
    exif = PIL.Image.Exif()
    exif[0x0112] = 6  # the camera was turned: rotate by 90 degrees clockwise to show
    PIL.Image.fromarray(RGB).save(tmp_path / "turned.png", exif=exif)
    (image,), _ = load_images(tmp_path / "turned.png")
    assert_array_equal(image, np.rot90(RGB, -1))


def test_a_photograph(shared_data):
    (image,), single = load_images(shared_data / "animals" / "raccoon" / "raccoon-1.jpg")
    assert single and image.dtype == np.uint8 and image.shape == (417, 650, 3)


# what is turned away


@pytest.mark.parametrize(
    ("images", "words"),
    [
        ([], r"empty list.*a path, a PIL image"),
        (np.zeros((0, 4, 4, 3)), r"batch of shape \(0, 4, 4, 3\)"),
        (np.zeros(3), r"the image: shape \(3,\)"),
        (np.zeros((1, 1, 4, 4, 3)), r"shape \(1, 1, 4, 4, 3\)"),
        ([RGB, np.zeros((2, 4, 4, 3))], r"image 1: shape \(2, 4, 4, 3\).*batch"),
        (np.zeros((0, 4, 3)), r"at least one pixel.*\(0, 4, 3\)"),
        (np.zeros((4, 4, 2)), r"1, 3 or 4 channels.*\(4, 4, 2\)"),
        (np.zeros((3, 8, 8)), r"np\.moveaxis"),
        (np.zeros((10, 8, 8)), r"\[\.\.\., np\.newaxis\]"),
        (np.array([[1.0, np.nan]]), r"1 NaN or infinite values of 2"),
        ([RGB, np.array([[np.inf, np.nan]])], r"image 1: 2 NaN or infinite"),
        (np.array([[1e300]]), r"finite in float32"),
        (np.array([["a"]]), r"real numbers.*<U1"),
        (np.array([[1j]]), r"real numbers.*complex128"),
        (None, r"NoneType"),
        (7, r"int"),
        ([[1, 2], [3, 4]], r"image 0: list"),
        ({"image": RGB}, r"dict"),
        ("no/such/file.png", r"No such image file.*no/such/file\.png"),
    ],
)
def test_what_is_no_image_is_named(images, words):
    with pytest.raises(InvalidImageError, match=f"(?s){words}"):
        load_images(images)


def test_a_broken_file_a_text_file_and_a_folder(tmp_path):
    whole = write(tmp_path / "whole.png", PIL.Image.effect_noise((64, 64), 50)).read_bytes()
    (tmp_path / "half.png").write_bytes(whole[: len(whole) // 2])
    (tmp_path / "text.jpg").write_text("not a picture")
    for path in (tmp_path / "half.png", tmp_path / "text.jpg", tmp_path):
        with pytest.raises(InvalidImageError, match="cannot be read as a picture"):
            load_images(path)


# what is fed


def test_values_are_never_rescaled():
    (fed,) = to_input([np.full((4, 4, 3), 200, np.uint8)], channels=3)
    assert fed.dtype == np.float32 and fed.shape == (4, 4, 3)
    assert_array_equal(fed, 200)


@pytest.mark.parametrize("dtype", ["uint8", "float32"])
@pytest.mark.parametrize("have", [1, 3, 4])
def test_a_batch_stays_one_array_and_is_copied_only_where_it_must_be(dtype, have):
    mine = np.arange(2 * 4 * 5 * have, dtype=dtype).reshape(2, 4, 5, have)
    images, single = load_images(mine)
    assert not single and images is mine
    fed = to_input(images, channels=3)
    assert fed.shape == (2, 4, 5, 3) and fed.dtype == np.float32
    assert_array_equal(fed, mine[..., :3] if have > 1 else np.repeat(mine, 3, axis=-1))
    assert np.shares_memory(fed, mine) == (dtype == "float32" and have > 1)
    assert_array_equal(to_display(images, (0, 255)), fed)


def test_gray_is_repeated_and_alpha_dropped():
    gray, alpha = to_input([np.full((1, 1, 1), 7, np.uint8), np.array([[[1, 2, 3, 4]]], np.uint8)], channels=3)
    assert_array_equal(gray, [[[7, 7, 7]]])
    assert_array_equal(alpha, [[[1, 2, 3]]])


@pytest.mark.parametrize(("have", "wanted"), [(3, 1), (4, 1), (1, 4), (3, 12)])
def test_other_channel_counts_are_named(have, wanted):
    with pytest.raises(InvalidImageError, match=f"image 0 has {have} channels where {wanted} are wanted"):
        to_input([np.zeros((2, 2, have))], channels=wanted)


def test_growing_interpolates_between_pixel_centres():
    assert_array_equal(resize(np.array([[0.0, 1.0]]), (2, 4)), [[0, 0.25, 0.75, 1]] * 2)


def test_shrinking_averages():
    board = np.indices((4, 4)).sum(axis=0) % 2 * 8.0
    assert_array_equal(resize(board, (2, 2)), np.full((2, 2), 4.0))
    assert_array_equal(resize(board, (2, 8)), np.full((2, 8), 4.0))  # one axis shrinks, the other grows


@pytest.mark.parametrize("size", [(0, 4), (4, -1), (4,), 4, None, "ab", (1, 2, 3)])
def test_an_impossible_size(size):
    with pytest.raises(InvalidOptionError, match="two positive whole numbers"):
        resize(np.zeros((2, 2)), size)
