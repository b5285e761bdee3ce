"""Arrays in, arrays out: load and fit pictures, lay maps over them, scale, colour and measure maps, find boxes.

The names are imported here, not at first use, since some modules are called as their function is.
"""

from keras_cam.imaging.boxes import Box, best_iou, find_boxes, find_contours, find_mask, find_segments
from keras_cam.imaging.colormaps import COLORMAPS, SIGNED_COLORMAPS, colorize
from keras_cam.imaging.display import to_display, value_range_of
from keras_cam.imaging.fit import FITS, fit_image, placement, visible_region
from keras_cam.imaging.load import load_images, resize
from keras_cam.imaging.normalize import NORMALIZATIONS, limits_of, normalize
from keras_cam.imaging.resample import INTERPOLATIONS, place
from keras_cam.imaging.statistics import (
    agreement,
    border_share,
    concentration,
    corner_share,
    heat_shares,
    moved_share,
)

__all__ = [
    "COLORMAPS",
    "FITS",
    "INTERPOLATIONS",
    "NORMALIZATIONS",
    "SIGNED_COLORMAPS",
    "Box",
    "agreement",
    "best_iou",
    "border_share",
    "colorize",
    "concentration",
    "corner_share",
    "find_boxes",
    "find_contours",
    "find_mask",
    "find_segments",
    "fit_image",
    "heat_shares",
    "limits_of",
    "load_images",
    "moved_share",
    "normalize",
    "place",
    "placement",
    "resize",
    "to_display",
    "value_range_of",
    "visible_region",
]
