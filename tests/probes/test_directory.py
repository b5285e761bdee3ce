"""A directory with a subdirectory of pictures for each class, as data of the callback."""

import numpy as np
import PIL.Image
import pytest
from support.callback_models import NAMES, coloured_spots, epoch_records, eye, fit, spots, strings

from keras_cam import CAMCallback
from keras_cam.tensorboard.records import MAPS, decode_maps, tag_of

pytestmark = pytest.mark.filterwarnings("ignore:.* is zero everywhere")  # black pictures with one colour


def picture_folder(root, sizes=(16, 24, 40)):
    """A subdirectory for each colour, one picture of each size in it, a quarter of it red, green or blue."""
    for channel, name in enumerate(NAMES):
        (root / name).mkdir(parents=True)
        for size in sizes:
            quarter = size // 4
            image = spots([(quarter, 2 * quarter)], [channel], size, quarter)[0]
            PIL.Image.fromarray((image * 255).astype(np.uint8)).save(root / name / f"{size}.png")
    (root / ".cache").mkdir()
    return root


def test_a_directory_of_pictures_of_several_sizes(tmp_path):
    source = picture_folder(tmp_path / "pictures")
    callback = CAMCallback(
        str(source), tmp_path / "logs", num_probes=9, preprocess=lambda batch: batch / 255, on_error="raise"
    )
    fit(eye(stride=2), coloured_spots(), callback)
    (probes,) = epoch_records(tmp_path / "logs").values()
    named = [(probe["true"], probe["names"][str(probe["true"])], probe["predicted"]) for probe in probes]
    assert named == [(0, "blue", 2)] * 3 + [(1, "green", 1)] * 3 + [(2, "red", 0)] * 3, "classes in the order of names"
    sizes = []
    for probe in probes:
        (record,) = map(decode_maps, strings(tmp_path / "logs" / "cam", tag_of(probe["probe"], MAPS)).values())
        sizes.append(record.size[0])
        quarter = sizes[-1] / 4  # the spot begins one quarter from the left, and two from the top
        found = [
            (offset + stride * np.arange(8)) @ heat / heat.sum()
            for (offset, stride), heat in zip(
                record.placement, (record.maps[0].sum(1), record.maps[0].sum(0)), strict=True
            )
        ]
        assert found == pytest.approx((2.5 * quarter - 0.5, 1.5 * quarter - 0.5), abs=0.02 * quarter)
        assert record.field == (sizes[-1] / 8,) * 2
    assert sorted(sizes) == [16] * 3 + [24] * 3 + [40] * 3
