"""The CAM tab in a real TensorBoard in headless Chromium: each control, and what it must change on the page."""

import json
from io import BytesIO

import numpy as np
import PIL.Image
import pytest
from support.dashboard_logs import (
    CELLS,
    FIELD,
    HOSTILE,
    HOSTILE_NAMES,
    NAN,
    OFFSET,
    PLACEMENT,
    PROBES,
    SIZE,
    STRIDE,
    drawn,
    maps_at,
    write_run,
)
from support.dashboard_tab import SEEN, Tab, get, in_haste, until
from support.tensorboard_server import tensorboard_process

from keras_cam.drawing.encode import encode_jpeg
from keras_cam.drawing.overlay import overlay
from keras_cam.imaging.boxes import Box, find_boxes
from keras_cam.imaging.normalize import limits_of, normalize
from keras_cam.imaging.resample import place

EPOCHS_RUN = 8
ORANGE, CYAN, WHITE = (255, 109, 0), (0, 229, 255), (255, 255, 255)


@pytest.fixture
def tab(cam_tab):
    return cam_tab


def maps_of(probe=0, epoch=EPOCHS_RUN - 1, cheats=False):
    seed = [int(cheats), probe, epoch]
    return maps_at(drawn(PROBES), probe, (epoch + 1) / EPOCHS_RUN, cheats, np.random.default_rng(seed))


def picture_of(probe=0):
    return np.array(PIL.Image.open(BytesIO(encode_jpeg(drawn(PROBES).images[probe]))))


def placed_of(label=0, interpolation="bilinear", **which):
    return place(maps_of(**which)[label], (SIZE, SIZE), cells=PLACEMENT, interpolation=interpolation)


def away(seen, wanted):
    """Mean distance of two pictures; what scaling up and back and another JPEG decoder leave is about one."""
    return float(np.abs(seen - np.asarray(wanted, float)).mean())


def drawn_map(limit=None, colormap=None, alpha=0.6, signed=False, **which):
    grid = maps_of(**{name: value for name, value in which.items() if name not in ("label", "interpolation")})
    top = float(limits_of(grid[which.get("label", 0)], signed=signed)[1].item()) if limit is None else limit
    heat = normalize(placed_of(**which), (0, top), signed=signed)
    return overlay(picture_of(which.get("probe", 0)), heat, colormap=colormap, alpha=alpha, signed=signed)


def test_it_opens_at_the_last_epoch_with_the_predicted_class(tab):
    assert tab.epoch == "Epoch 7 (8 of 8)"
    assert tab.texts("section h2") == ["honest/cam", "tagged/cam"]
    assert tab.texts("figure .head bdi") == ["image 0", "circle", "image 0", "square"]  # who cheats is wrong here
    assert tab.texts(".verdict") == ["✓ right", "✗ wrong"]
    assert len(tab.all(".strip li")) == PROBES
    assert "wrong: square" in tab.one("#option_probe_00").get_attribute("aria-label")
    assert [item.get_attribute("id")[-2:] for item in tab.all(".strip li.wrong")] == ["00", "03"]
    small = np.asarray(PIL.Image.fromarray(picture_of()).resize((112, 112)).resize((SIZE, SIZE), 0))
    until(lambda: tab.one(".strip canvas").get_property("width") == 112)
    thumbnail = np.array(tab.js(SEEN, tab.one(".strip canvas"), SIZE), float).reshape(SIZE, SIZE, 4)
    assert (thumbnail[..., 3] == 255).all() and away(thumbnail[..., :3], small) < 6 < away(255, small)


def test_maps_lie_on_their_picture_as_python_draws_them(tab):
    assert away(tab.seen(0), picture_of()) < 2
    assert away(tab.seen(1), drawn_map()) < 2
    assert away(tab.seen(1), picture_of()) > 6
    assert away(tab.seen(3), drawn_map(label=1, cheats=True)) < 2


def test_settings_change_what_is_drawn(tab):
    tab.choose("colors", "viridis")
    assert away(tab.seen(1), drawn_map(colormap="viridis")) < 2 < away(tab.seen(1), drawn_map())
    tab.slide("opacity", 1)
    assert away(tab.seen(1), drawn_map(colormap="viridis", alpha=1)) < 2
    tab.slide("opacity", 0)
    assert away(tab.seen(1), tab.seen(0)) == 0
    tab.slide("opacity", 0.6)
    tab.click("#smooth")
    cells = drawn_map(colormap="viridis", interpolation="nearest")
    assert away(tab.seen(1), cells) < 2 < away(tab.seen(1), drawn_map(colormap="viridis"))
    tab.click("#smooth")
    tab.click("#signed")
    assert away(tab.seen(1), drawn_map(signed=True)) < 2
    tab.choose("signedColors", "purple_green")
    assert away(tab.seen(1), drawn_map(signed=True, colormap="purple_green")) < 2


def test_scales(tab):
    tab.press("5")  # star, third of four, has small values only: another scale makes it fainter
    tab.press("1")
    tab.slide("epoch", 4)
    maxima = {
        "map": maps_of(epoch=4)[2].max(),
        "epoch": maps_of(epoch=4).max(),
        "run": max(maps_of(epoch=epoch).max() for epoch in range(EPOCHS_RUN)),
    }
    assert len({f"{wanted:.2g}" for wanted in maxima.values()}) == 3
    for scale, wanted in maxima.items():
        tab.choose("scale", scale)
        assert tab.texts(".scale span:last-child")[1] == f"{wanted:.3g}"
        assert away(tab.seen(1), drawn_map(label=2, epoch=4, limit=float(wanted))) < 2


def test_box_above_a_threshold(tab):
    for threshold in (0.2, 0.5):
        tab.slide("threshold", threshold)
        (box,) = find_boxes(placed_of(), threshold)
        iou = box.iou(Box(*(int(edge) for edge in drawn(PROBES).boxes[0])))
        words = f"Box x {box.left}\u2013{box.right}, y {box.top}\u2013{box.bottom}, IoU {iou:.2f}."
        assert tab.texts(".words")[1] == words
    assert tab.marked(ORANGE) > 200 < tab.marked(WHITE)
    tab.click("#box")
    assert tab.marked(ORANGE) == 0 and tab.texts(".words")[1] == ""
    assert not tab.one("#threshold").is_enabled()
    tab.click("#truth")
    assert tab.marked(WHITE) == 0


def test_pointing_shows_the_cell_its_value_and_its_field(tab):
    from selenium.webdriver.common.action_chains import ActionChains

    marks = tab.all("figure .marks")[1]
    size = marks.size
    x, y = 0.3, 0.6  # shares of the picture
    offset = round((x - 0.5) * size["width"]), round((y - 0.5) * size["height"])
    ActionChains(tab.driver).move_to_element_with_offset(marks, *offset).perform()
    cell = [round((share * SIZE - OFFSET) / STRIDE) for share in (y, x)]
    until(lambda: f"cell [{cell[0]}, {cell[1]}]: " in tab.texts(".here")[1])
    said = tab.texts(".here")[1]
    assert float(said.rpartition(": ")[2]) == pytest.approx(maps_of()[0][*cell], rel=0.01)
    near = placed_of()[int(y * SIZE) - 1 : int(y * SIZE) + 2, int(x * SIZE) - 1 : int(x * SIZE) + 2]
    assert near.min() - 0.01 <= float(said.partition(" here")[0]) <= near.max() + 0.01
    assert f"cell [{cell[0]}, {cell[1]}]" in tab.texts(".here")[2]  # the other run too
    edges = tab.js(  # the leftmost and the rightmost column with the field's colour
        """const {width, height} = arguments[0], context = arguments[0].getContext('2d');
        const {data} = context.getImageData(0, 0, width, height);
        const columns = [];
        for (let at = 0; at < data.length; at += 4)
          if (data[at] === 0 && data[at + 1] === 229 && data[at + 2] === 255) columns.push((at / 4) % width);
        return [columns.reduce((a, b) => Math.min(a, b)) / width, columns.reduce((a, b) => Math.max(a, b)) / width];""",
        tab.all("figure .marks")[0],
    )
    centre = OFFSET + STRIDE * cell[1] + 0.5
    wanted = [(centre - FIELD / 2) / SIZE, (centre + FIELD / 2) / SIZE]
    assert np.abs(np.array(edges) - wanted).max() < 0.01
    ActionChains(tab.driver).move_to_element(tab.one(".player .epoch")).perform()
    until(lambda: tab.texts(".here")[1] == "" and tab.marked(CYAN) == 0)


def test_classes(tab):
    def titles():
        return tab.js(
            "return [...document.querySelector('section').querySelectorAll('.head bdi')].map((e) => e.textContent);"
        )

    assert tab.texts(".chip bdi") == ["Predicted", "True", "circle", "square", "triangle", "star"]
    tab.click(".chip[data-token='3']")
    tab.click(".chip[data-token='1']")
    assert titles() == ["image 0", "circle", "star", "square"]
    assert away(tab.seen(2), drawn_map(label=3)) < 2 and away(tab.seen(3), drawn_map(label=1)) < 2
    tab.press("1", "2")  # not the predicted one, but the true one, which is the same here
    assert titles() == ["image 0", "star", "square", "circle"]
    pressed = [chip.get_attribute("aria-pressed") for chip in tab.all(".chip")]
    assert pressed == ["false", "true", "false", "true", "false", "true"]
    tab.press("2", "4", "6")
    assert titles() == ["image 0"]


def test_epochs_by_slider_buttons_keys_and_curve(tab):
    from selenium.webdriver.common.keys import Keys

    tab.one("#epoch").send_keys(Keys.HOME)
    tab.settle()
    assert tab.epoch == "Epoch 0 (1 of 8)"
    assert not tab.one("#back").is_enabled()
    label = ["circle", "square", "triangle", "star"].index(tab.texts(".head bdi")[1])
    assert away(tab.seen(1), drawn_map(epoch=0, label=label)) < 2
    tab.click("#next")
    tab.press(Keys.ARROW_RIGHT, Keys.ARROW_RIGHT)
    assert tab.epoch == "Epoch 3 (4 of 8)"
    tab.press(Keys.ARROW_LEFT)
    tab.click("#back")
    assert tab.epoch == "Epoch 1 (2 of 8)"
    tab.one("#smooth").send_keys(Keys.ARROW_RIGHT)  # a key that a check box has no use for
    tab.settle()
    assert tab.epoch == "Epoch 2 (3 of 8)"
    tab.one("#colors").send_keys(Keys.ARROW_DOWN)  # and one that a list keeps for itself
    tab.settle()
    assert tab.epoch == "Epoch 2 (3 of 8)" and tab.one("#colors").get_attribute("value") == "viridis"
    tab.one("#back").send_keys(" ")  # presses the button, plays nothing
    tab.settle()
    assert tab.epoch == "Epoch 1 (2 of 8)" and tab.one("#play").get_attribute("title") == "Play"
    assert tab.one(".now").get_attribute("x1") == str(1000 / 7)
    assert "epoch 1" in tab.one("[aria-live]").get_attribute("textContent")
    tab.click(".plot svg")  # its middle
    assert tab.epoch in ("Epoch 3 (4 of 8)", "Epoch 4 (5 of 8)")
    path = tab.one("path.line:not(.faint)").get_attribute("d")
    points = [tuple(map(float, part.split())) for part in path[1:].split("L")]
    assert len(points) == EPOCHS_RUN and points[0][0] == 0 and points[-1][0] == 1000
    said = float(tab.texts(".legend .p")[0])
    shown = int(tab.epoch.split()[1])
    assert 1 - points[shown][1] / 100 == pytest.approx(said, abs=0.006)


def test_play_to_the_end_and_pause_where_the_tab_is_hidden(tab):
    tab.press(" ")
    assert tab.one("#play").get_attribute("aria-label") == "Pause"
    seen = set()
    until(lambda: seen.add(tab.epoch) or tab.one("#play").get_attribute("aria-label") == "Play")
    assert tab.epoch == "Epoch 7 (8 of 8)" and len(seen) >= 5
    tab.click("#play")
    tab.driver.switch_to.default_content()
    tab.js("location.hash = '#timeseries';")
    tab.enter()
    until(lambda: tab.js("return innerHeight;") == 0)
    until(lambda: tab.js("return document.querySelector('#play').title;") == "Play")
    before = tab.js("return document.querySelector('output.epoch').textContent;").capitalize()
    assert before != "Epoch 7 (8 of 8)"
    tab.driver.switch_to.default_content()
    tab.js("location.hash = '#keras_cam';")
    tab.enter()
    until(lambda: tab.js("return innerHeight;") > 0)
    tab.settle()
    assert tab.epoch == before
    until(lambda: f"p.keras_cam.epoch={before.split()[1]}" in tab.driver.current_url)


def test_runs_beside_each_other_in_step(tab):
    left, right = (section.rect for section in tab.all("section"))
    assert left["y"] == right["y"] and left["x"] + left["width"] <= right["x"]
    tab.slide("epoch", 2)
    for figure, cheats in ((1, False), (3, True)):
        label = ["circle", "square", "triangle", "star"].index(tab.texts(".head bdi")[figure])
        assert away(tab.seen(figure), drawn_map(epoch=2, label=label, cheats=cheats)) < 2
    assert [box.is_selected() for box in tab.all(".runs input")][:3] == [True, True, False]
    tab.run("honest").click()
    tab.settle()
    assert tab.texts("section h2") == ["tagged/cam"]
    tab.run("tagged").click()
    tab.settle()
    assert tab.texts("section h2") == [] and tab.one(".waiting").text == "Choose a run on the left."
    tab.run("honest").click()
    tab.settle()
    assert tab.texts("section h2") == ["honest/cam"]


def test_probes_in_the_order_of_what_moved_looks_outside_or_is_wrong(tab):
    from selenium.webdriver.common.keys import Keys

    tab.run("tagged").click()
    reply = json.loads(get(f"{tab.address}data/plugin/keras_cam/epochs?run=honest/cam"))
    entries = reply["epochs"][-1]["probes"]
    measures = {
        "moved": lambda entry: entry["numbers"]["moved_since_last"],
        "outside": lambda entry: 1 - entry["numbers"]["energy_inside"],
        "wrong": lambda entry: -1 if entry["true"] == entry["predicted"] else max(entry["p"]),
    }
    orders = []
    for order, measure in measures.items():
        tab.choose("order", order)
        ids = [item.get_attribute("id").removeprefix("option_") for item in tab.all(".strip li")]
        assert ids == [entry["probe"] for entry in sorted(entries, key=lambda entry: -measure(entry))]
        orders.append(ids)
    assert len({tuple(ids) for ids in orders}) == 3
    first, second = orders[-1][:2]
    tab.click(f"#option_{first}")
    assert tab.texts(".words")[1].startswith("Box") and tab.texts(".verdict") == ["✗ wrong"]
    tab.press(Keys.ARROW_DOWN)
    assert tab.one("[aria-selected=true]").get_attribute("id") == f"option_{second}"
    tab.press(Keys.ARROW_UP, Keys.ARROW_UP)  # there is none before the first
    assert tab.one("[aria-selected=true]").get_attribute("id") == f"option_{first}"
    tab.choose("group", "=tagged")
    tagged = {entry["probe"] for entry in entries if entry["group"] == "tagged"} | {first}
    assert {item.get_attribute("id").removeprefix("option_") for item in tab.all(".strip li")} == tagged


def test_a_link_restores_all_of_it(tab):
    tab.click("#option_probe_04")
    tab.slide("epoch", 3)
    tab.press("3", "5")
    tab.choose("colors", "cividis")
    tab.choose("scale", "run")
    tab.slide("threshold", 0.4)
    tab.click("#smooth")
    tab.choose("order", "moved")
    tab.run("honest").click()
    tab.settle()
    page = "return document.querySelector('.page').innerText;"
    before, pixels, link = tab.js(page), tab.seen(2), tab.driver.current_url
    tab.open(f"#{link.partition('#')[2]}", anew=True)
    assert tab.js(page) == before and away(tab.seen(2), pixels) == 0
    assert tab.driver.current_url.partition("#")[2] == link.partition("#")[2]
    tab.driver.switch_to.default_content()
    tab.js("location.hash = arguments[0];", "#keras_cam&p.keras_cam.probe=probe_02&p.keras_cam.epoch=5")
    tab.enter()
    until(lambda: tab.epoch == "Epoch 5 (6 of 8)")
    assert tab.one("[aria-selected=true]").get_attribute("id") == "option_probe_02"


def test_the_reload_button_of_tensorboard_reads_all_anew(tab):
    asked = "return performance.getEntriesByType('resource').filter((entry) => entry.name.includes('epochs?')).length;"
    before = tab.js(asked)
    tab.driver.switch_to.default_content()
    tab.one("app-header-reload button, .reload-button").click()
    tab.enter()
    until(lambda: tab.js(asked) == before + 2)  # though nothing is new, of both runs that are shown


def test_dark_mode_is_followed(tab):
    background = "return getComputedStyle(document.body).backgroundColor;"
    assert tab.js(background) == "rgb(255, 255, 255)"
    tab.driver.switch_to.default_content()
    tab.js("document.body.classList.toggle('dark-mode');")
    tab.enter()
    until(lambda: tab.js(background) == "rgb(48, 48, 48)")
    assert tab.open(dark=True).js(background) == "rgb(48, 48, 48)"


def test_cells_that_are_not_numbers_are_left_clear_and_said(tab):
    tab.click(f"#option_probe_{NAN:02d}")
    assert f"{CELLS} of {CELLS * CELLS} cells are not numbers and are left clear." in tab.texts(".words")[1]
    diagonal = [round(OFFSET + STRIDE * cell) for cell in range(CELLS)]
    seen, picture = tab.seen(1), tab.seen(0)
    assert all(np.abs(seen[at, at] - picture[at, at]).max() == 0 for at in diagonal)


def test_names_of_others_are_text_and_faulty_data_is_said(tab):
    tab.run(HOSTILE[:10]).click()
    until(lambda: any("could not be read" in words for words in tab.texts(".problems p")))
    assert tab.js("return document.querySelectorAll('.page img, .page script').length;") == 0
    names = tab.texts(".chip bdi")
    assert "<script>alert(1)</script>" in tab.js("return document.body.textContent;")
    assert all(len(name) <= 120 for name in names)
    for name in ("honest", "tagged"):
        tab.run(name).click()
    tab.settle()
    assert "<img src=x onerror=alert(2)>" in tab.texts("section h2")[0]
    assert tab.texts(".chip bdi")[2] == HOSTILE_NAMES[0] and tab.texts(".chip bdi")[5] == HOSTILE_NAMES[3]
    assert any(words.startswith("2 records of run x <img") for words in tab.texts(".problems p"))
    until(lambda: any("picture of probe_01 in run x" in words for words in tab.texts(".problems p")))
    tab.click("#option_probe_02")  # the page stays of use
    assert tab.one("[aria-selected=true]").get_attribute("id") == "option_probe_02"
    assert tab.texts(".words")[1].startswith("Box")
    for name in ("honest", HOSTILE[:10]):  # and with the run its troubles go
        tab.run(name).click()
        tab.settle()
        assert tab.texts("section h2")[0] == "honest/cam"
    assert tab.texts(".problems p") == []
    tab.run(HOSTILE[:10]).click()
    tab.run("honest").click()
    tab.settle()
    overflow = "return document.documentElement.scrollWidth - document.documentElement.clientWidth;"
    assert tab.js(overflow) == 0 and tab.js(overflow.replace("documentElement", "querySelector('main')")) == 0


def test_it_follows_a_training_and_outlives_the_server(chromium, tmp_path):
    logs = tmp_path / "logs"
    logs.mkdir()
    tab = Tab(chromium, "")
    server = tensorboard_process(logs, tmp_path / "tensorboard", "--reload_interval=1")
    with server as (address, _, process), in_haste(chromium):
        chromium.get(f"{address}/data/plugin_entry.html?name=keras_cam")  # as the frame holds it, without TensorBoard
        until(lambda: tab.all(".empty") and tab.one(".empty").is_displayed())
        assert "CAMCallback" in tab.one(".empty").text
        write_run(logs / "cam", probes=2, epochs=2)
        until(lambda: tab.all(".player") and tab.epoch == "Epoch 1 (2 of 2)")
        until(lambda: tab.texts(".words")[1:2] and "Loading" not in tab.texts(".words")[1])
        tab.js("location.hash = '#keras_cam&p.keras_cam.epoch=1';")
        chromium.refresh()  # with a link that names the last epoch
        until(lambda: tab.all(".player") and tab.epoch == "Epoch 1 (2 of 2)")
        write_run(logs / "cam", probes=2, epochs=3, first=2)
        until(lambda: tab.epoch == "Epoch 4 (5 of 5)")  # the last is followed
        until(lambda: tab.texts(".words")[1].startswith("Box"))
        tab.slide("epoch", 1)
        assert tab.epoch == "Epoch 1 (2 of 5)"
        process.kill()
        until(lambda: "TensorBoard does not answer" in "".join(tab.texts(".problems p")))
        tab.slide("epoch", 2)
        assert tab.epoch == "Epoch 2 (3 of 5)" and tab.texts(".words")[1].startswith("Box")
