"""What a person sees: TensorBoard on a free port, its Images tab in headless Chromium, every epoch of every probe."""

import contextlib
import hashlib
import os
import shutil
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request

import keras
import numpy as np
import pytest

from keras_cam import CAMCallback

EPOCHS, PROBES = 12, 3  # more epochs than the 10 pictures that TensorBoard keeps unless told otherwise
PATIENCE = 90  # seconds, for a machine with much else to do

CARDS = """
const cards = [];
(function look(root) {
  for (const element of root.querySelectorAll('*')) {
    if (element.localName === 'tf-image-loader') cards.push(element);
    if (element.shadowRoot) look(element.shadowRoot);
  }
})(document);
return cards;
"""
INSIDE = "return arguments[0].shadowRoot.querySelector(arguments[1]);"
LOADED = """
const image = arguments[0].shadowRoot.querySelector('img');
return image && image.complete && image.naturalWidth > 0 ? [image.src, image.naturalWidth, image.naturalHeight] : null;
"""


@pytest.fixture(scope="module")
def chromium(tmp_path_factory):
    """A headless browser that reaches nothing but this machine."""
    webdriver = pytest.importorskip("selenium.webdriver", reason="selenium is not installed: pip install selenium")
    browser = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    driver = shutil.which("chromedriver")
    if not (browser and driver):
        pytest.skip("no Chromium with chromedriver on the PATH: apt-get install chromium chromium-driver")
    options = webdriver.ChromeOptions()
    options.binary_location = browser
    for argument in (
        "--headless=new",
        "--no-sandbox",
        "--disable-gpu",
        "--disable-dev-shm-usage",
        "--disable-background-networking",
        "--host-resolver-rules=MAP * ~NOTFOUND , EXCLUDE 127.0.0.1",
        f"--user-data-dir={tmp_path_factory.mktemp('chromium')}",
        "--window-size=1500,1100",
    ):
        options.add_argument(argument)
    opened = webdriver.Chrome(options=options, service=webdriver.ChromeService(driver))
    yield opened
    opened.quit()


@pytest.fixture(scope="module")
def logs(tmp_path_factory):
    """The logs of a short training beside Keras' own callback, which is told to write rarely."""
    keras.utils.set_random_seed(0)
    layers = keras.layers
    stack = [
        keras.Input((24, 24, 3)),
        layers.Conv2D(4, 3, activation="relu"),
        layers.GlobalAveragePooling2D(),
        layers.Dense(3, activation="softmax"),
    ]
    model = keras.Sequential(stack)
    model.compile("adam", "sparse_categorical_crossentropy")
    images, labels = np.random.default_rng(0).uniform(size=(12, 24, 24, 3)), np.arange(12) % 3
    directory = tmp_path_factory.mktemp("logs")
    callbacks = [
        keras.callbacks.TensorBoard(str(directory), update_freq=3),
        CAMCallback((images, labels), directory, num_probes=PROBES, on_error="raise"),
    ]
    model.fit(images, labels, epochs=EPOCHS, verbose=0, callbacks=callbacks)
    return directory


@pytest.fixture(scope="module")
def tensorboard(logs, tmp_path_factory):
    """Address of a TensorBoard started as our documentation says."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    address = f"http://127.0.0.1:{port}/"
    said = tmp_path_factory.mktemp("tensorboard") / "output.txt"
    command = [sys.executable, "-m", "tensorboard.main", "--logdir", str(logs), "--samples_per_plugin", "images=1000"]
    with said.open("w") as output:
        server = subprocess.Popen(
            [*command, "--host", "127.0.0.1", "--port", str(port)],
            stdout=output,
            stderr=subprocess.STDOUT,
            env={**os.environ, "TF_CPP_MIN_LOG_LEVEL": "2"},
        )
    try:
        until(lambda: server.poll() is not None or b"cam/probe_00" in get(f"{address}data/plugin/images/tags"))
        assert server.poll() is None, said.read_text()
        yield address
    finally:
        server.terminate()
        try:
            server.wait(10)
        except subprocess.TimeoutExpired:
            server.kill()
            server.wait()


def until(condition):
    """The first true value of the condition, asked for until patience ends."""
    end = time.monotonic() + PATIENCE
    while not (value := condition()):
        assert time.monotonic() < end, f"not within {PATIENCE} s"
        time.sleep(0.1)
    return value


def get(url):
    with contextlib.suppress(urllib.error.URLError, ConnectionError, TimeoutError):
        return urllib.request.urlopen(url, timeout=10).read()
    return b""


def test_all_epochs_of_all_probes_are_in_the_images_tab(chromium, tensorboard, tmp_path):
    from selenium.webdriver.common.keys import Keys

    chromium.get(f"{tensorboard}?darkMode=false#images")
    until(lambda: len(chromium.execute_script(CARDS)) >= PROBES)
    cards = chromium.execute_script(CARDS)
    assert len(cards) == PROBES
    for probe, card in enumerate(cards):
        latest, *_ = until(lambda card=card: chromium.execute_script(LOADED, card))
        run_and_tag = chromium.execute_script("return [arguments[0].run, arguments[0].tag];", card)
        assert run_and_tag == ["cam", f"cam/probe_{probe:02d}"]
        slider = chromium.execute_script(INSIDE, card, "paper-slider")
        slider.send_keys(Keys.HOME)
        until(lambda card=card, latest=latest: new(chromium.execute_script(LOADED, card), {latest}))
        pictures = []
        for _ in range(EPOCHS):
            shown = {source for source, _ in pictures}
            source, width, height = until(
                lambda card=card, shown=shown: new(chromium.execute_script(LOADED, card), shown)
            )
            assert width == 700 and height > 348
            pictures.append((source, hashlib.sha256(get(source)).hexdigest()))
            slider.send_keys(Keys.ARROW_RIGHT)
        assert len({content for _, content in pictures}) == EPOCHS
    chromium.save_screenshot(str(tmp_path / "images.png"))


def new(loaded, shown):
    """What is loaded, if it was not shown before."""
    return loaded if loaded and loaded[0] not in shown else None
