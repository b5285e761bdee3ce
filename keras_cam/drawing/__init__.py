"""Pictures out: heat maps over pictures, signals and volumes, as uint8 RGB arrays or matplotlib figures.

The names are imported here, not at first use, since some modules are called as their function is.
"""

from keras_cam.drawing.colorbar import color_bar
from keras_cam.drawing.draw_boxes import draw_boxes
from keras_cam.drawing.encode import encode_jpeg, encode_png, save_gif, save_png
from keras_cam.drawing.figure import figure
from keras_cam.drawing.layout import beside, caption, contact_sheet, filmstrip, scale_to_width
from keras_cam.drawing.overlay import overlay
from keras_cam.drawing.panel import panel
from keras_cam.drawing.signal import draw_signal, signal_figure
from keras_cam.drawing.text import text_picture
from keras_cam.drawing.volume import montage, volume_figure

__all__ = [
    "beside",
    "caption",
    "color_bar",
    "contact_sheet",
    "draw_boxes",
    "draw_signal",
    "encode_jpeg",
    "encode_png",
    "figure",
    "filmstrip",
    "montage",
    "overlay",
    "panel",
    "save_gif",
    "save_png",
    "scale_to_width",
    "signal_figure",
    "text_picture",
    "volume_figure",
]
