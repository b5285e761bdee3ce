"""Show the CAM tab anew, as README.md and docs/training.md do: `python docs/make_cam_tab.py`, two minutes on two cores.

What is in the picture is what `keras-cam demo` and `keras-cam demo --honest` leave. It takes selenium and Chromium.
"""

import io
import sys
import tempfile
from pathlib import Path

import numpy as np
import PIL.Image

from keras_cam.demo import run_demo
from keras_cam.drawing.encode import encode_jpeg

DOCS = Path(__file__).resolve().parent
SIZE = "1400,979"  # of the window; the page in it is 1400 x 836
LINK = "#keras_cam&p.keras_cam.probe=probe_00"  # both runs, at the last epoch


def main():
    sys.path.insert(0, str(DOCS.parent / "tests"))
    from support.dashboard_tab import Tab, chromium, tensorboard

    with tempfile.TemporaryDirectory() as directory:
        results = [run_demo(directory, honest=honest, verbose=0) for honest in (False, True)]
        work = Path(directory, "work")
        work.mkdir()
        with chromium(work / "chromium", SIZE) as driver, tensorboard(results[0].log_dir, work) as (address, _):
            Tab(driver, address).open(LINK)
            driver.switch_to.default_content()
            picture = PIL.Image.open(io.BytesIO(driver.get_screenshot_as_png())).convert("RGB")
    (DOCS / "images" / "cam-tab.jpg").write_bytes(encode_jpeg(np.asarray(picture), quality=85))


if __name__ == "__main__":
    main()
