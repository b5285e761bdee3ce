"""Data to take probes from, of any kind: which source reads them."""

from __future__ import annotations

import os
from typing import Any

from keras_cam.explainer.datasets import is_pydataset
from keras_cam.probes.array_source import ArraySource
from keras_cam.probes.directory import find_pictures
from keras_cam.probes.stream_source import StreamSource

ProbeSource = ArraySource | StreamSource


def open_source(data: Any) -> ProbeSource:
    """Find out how to read some data; nothing but the names in a directory is read for it.

    Args:
        data: images (n, height, width, channels); a tuple `(x, y)` or `(x, y, sample_weight)`; a data set of these, in
            batches or image by image; or a directory with a subdirectory of pictures for each class.

    Returns:
        An `ArraySource` for arrays and directories, a `StreamSource` for a data set.

    Raises:
        InvalidDataError: data that no probes can be taken from.
    """
    if isinstance(data, (str, os.PathLike)):
        pictures = find_pictures(data)
        return ArraySource((pictures, pictures.labels))
    # A PyDataset of images may have a shape of its own, and is no array.
    if not is_pydataset(data) and (isinstance(data, tuple) or hasattr(data, "shape")):
        return ArraySource(data)
    return StreamSource(data)
