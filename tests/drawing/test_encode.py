"""Pictures as files and bytes: what is read back is what was written."""

import io

import numpy as np
import PIL.Image
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from support.pictures import flat

from keras_cam.drawing.encode import encode_jpeg, save_gif, save_png
from keras_cam.errors import InvalidOptionError


def test_jpeg_comes_back_as_the_same_picture():
    red = flat(16, 16, 0) + np.array([200, 40, 20], np.uint8)
    encoded = encode_jpeg(red)
    decoded = PIL.Image.open(io.BytesIO(encoded))
    assert decoded.format == "JPEG"
    assert_allclose(np.asarray(decoded), red, atol=4)
    noise = np.random.default_rng(0).integers(0, 256, (64, 64, 3), np.uint8)
    assert len(encode_jpeg(noise, quality=30)) < len(encode_jpeg(noise))
    with pytest.raises(InvalidOptionError, match=r"1\.\.100. Received: 0"):
        encode_jpeg(red, quality=0)


def test_png_comes_back_to_the_bit(tmp_path):
    picture = np.random.default_rng(0).integers(0, 256, (5, 7, 3), np.uint8)
    path = save_png(tmp_path / "new" / "folder" / "picture", picture)
    with PIL.Image.open(path) as read:
        assert read.format == "PNG"
        assert_array_equal(np.asarray(read), picture)


def test_a_film_runs_forwards(tmp_path):
    shades = [20, 120, 220]
    with PIL.Image.open(save_gif(tmp_path / "film.gif", [flat(4, 4, shade) for shade in shades])) as film:
        for frame, shade in enumerate(shades):
            film.seek(frame)
            assert_allclose(np.asarray(film.convert("RGB")), shade, atol=8)
