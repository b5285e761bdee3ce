"""Draw the pictures of README.md anew: `python docs/make_images.py`, about a minute on two cores."""

import tempfile
from pathlib import Path

from keras_cam.demo import run_demo
from keras_cam.drawing.encode import encode_jpeg
from keras_cam.imaging.load import load_images, resize

IMAGES = Path(__file__).resolve().parent / "images"
WIDTH = 700


def main():
    with tempfile.TemporaryDirectory() as directory:
        result = run_demo(directory)
        (picture,), _ = load_images(result.picture)
    height, width = (round(length * WIDTH / picture.shape[1]) for length in picture.shape[:2])
    (IMAGES / "demo.jpg").write_bytes(encode_jpeg(resize(picture, (height, width)), quality=85))


if __name__ == "__main__":
    main()
