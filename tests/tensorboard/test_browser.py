"""What a person sees: TensorBoard on a free port, its Images tab in headless Chromium, every epoch of every probe."""

import hashlib

from support import dashboard_tab
from support.dashboard_tab import get

EPOCHS, PROBES = 12, 3  # of the run z_trained
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


def until(condition):
    return dashboard_tab.until(condition, PATIENCE)


def test_all_epochs_of_all_probes_are_in_the_images_tab(chromium, address):
    from selenium.webdriver.common.keys import Keys

    until(lambda: b"cam/probe_00" in get(f"{address}data/plugin/images/tags"))
    chromium.get(f"{address}?darkMode=false#images")
    until(lambda: len(chromium.execute_script(CARDS)) >= PROBES)
    cards = chromium.execute_script(CARDS)
    assert len(cards) == PROBES
    for probe, card in enumerate(cards):
        latest, *_ = until(lambda card=card: chromium.execute_script(LOADED, card))
        run_and_tag = chromium.execute_script("return [arguments[0].run, arguments[0].tag];", card)
        assert run_and_tag == ["z_trained/cam", f"cam/probe_{probe:02d}"]
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


def new(loaded, shown):
    """What is loaded, if it was not shown before."""
    return loaded if loaded and loaded[0] not in shown else None
