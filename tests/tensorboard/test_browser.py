"""What a person sees: TensorBoard on a free port, its Images tab in headless Chromium, every epoch of every probe."""

import hashlib

import keras
import numpy as np
import pytest
from support import dashboard_tab
from support.dashboard_tab import get

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
    with dashboard_tab.chromium(tmp_path_factory.mktemp("chromium"), "1500,1100") as opened:
        yield opened


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
    work = tmp_path_factory.mktemp("tensorboard")
    with dashboard_tab.tensorboard(logs, work, "--samples_per_plugin", "images=1000") as (address, _):
        until(lambda: b"cam/probe_00" in get(f"{address}data/plugin/images/tags"))
        yield address


def until(condition):
    return dashboard_tab.until(condition, PATIENCE)


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
