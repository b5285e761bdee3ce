"""The CAM tab over runs that have little in common: other pictures, other classes, groups that come and go."""

import pytest
from support.dashboard_logs import PROBES
from support.dashboard_tab import until


@pytest.fixture
def tab(cam_tab):
    return cam_tab


def show(tab, *runs):
    """Tick these runs and no others."""
    for box, text in zip(tab.all(".runs input"), tab.texts(".runs label"), strict=True):
        if box.is_selected() != text.startswith(runs):
            box.click()
            tab.settle()


def texts_in(tab, section, selector):
    script = "return [...document.querySelectorAll('section')[arguments[0]].querySelectorAll(arguments[1])]"
    return tab.js(f"{script}.map((e) => e.textContent);", section, selector)


def test_runs_that_show_different_pictures_say_so_and_each_shows_its_own(tab):
    show(tab, "u_honest", "v_other")
    marked = [item.text for item in tab.all(".strip .differs") if item.is_displayed()]
    assert marked == ["\u2260 different pictures"] * PROBES
    assert "different pictures in these runs" in tab.one("#option_probe_00").get_attribute("aria-label")
    assert (tab.seen(0) != tab.seen(2)).any(axis=2).mean() > 0.5
    show(tab, "u_honest", "w_true")
    assert not any(item.is_displayed() for item in tab.all(".strip .differs"))
    assert texts_in(tab, 0, ".judged bdi") == ["true: circle"] == texts_in(tab, 1, ".judged bdi")


def test_numbers_are_labelled_with_the_map_that_they_are_about(tab):
    """A wrong probe has numbers of two maps, of which the tab shows one."""
    show(tab, "u_honest")
    tab.click("#option_probe_03")
    assert tab.texts(".verdict") == ["\u2717 wrong"] and tab.texts(".judged bdi") == ["true: star"]
    assert tab.texts(".head bdi") == ["image 3", "circle"]
    groups = tab.js(
        "return [...document.querySelectorAll('.numbers > div')].map((group) => "
        "[group.querySelector('bdi')?.textContent, ...[...group.querySelectorAll('dt')].map((e) => e.textContent)]);"
    )
    assert groups == [
        ["Map of star", "energy inside the boxes"],
        ["Map of circle", "moved since last", "in the border"],
    ]
    tab.choose("order", "outside")
    assert tab.one("#option_probe_03 .measure").text.startswith("outside, map of star: 0.")
    tab.choose("order", "moved")
    assert tab.one("#option_probe_03 .measure").text.startswith("moved, map of circle: 0.")


def test_a_run_that_maps_the_true_class_only_is_shown_whole(tab):
    """Predicted is pressed at the start; it has no map where the network is wrong."""
    show(tab, "w_true")
    tab.click("#option_probe_03")
    assert tab.texts(".head bdi") == ["image 3", "star"] and tab.texts(".tag") == ["", "true"]
    assert tab.texts(".words")[1].startswith("Box")
    assert tab.texts(".chip bdi") == ["Predicted", "True", "star"], "chips of what is mapped"
    legend = dict(zip(tab.texts(".legend bdi"), tab.texts(".legend .p"), strict=True))
    assert set(legend) == {"circle", "square", "triangle", "star"}
    assert sum(float(p.strip("<>")) for p in legend.values()) == pytest.approx(1, abs=0.03)
    assert "wrong: circle" in tab.one("#option_probe_03").get_attribute("aria-label")
    tab.open("#keras_cam&p.keras_cam.runs=w_true%2Fcam&p.keras_cam.probe=probe_03&p.keras_cam.classes=2")
    assert tab.texts(".head bdi") == ["image 3", "triangle"], "a name that other epochs and probes of the run know"
    tab.choose("order", "wrong")
    first, *_ = tab.texts(".strip .measure")
    assert float(first.rpartition(" ")[2]) > 0.25
    assert tab.all(".strip li")[0].get_attribute("class").split() == ["wrong"]


def test_a_group_is_filtered_by_while_it_is_there(tab):
    show(tab, "u_honest")
    tab.choose("group", "=tagged")
    few = len(tab.all(".strip li"))
    assert few < PROBES
    show(tab, "w_true")
    assert len(tab.all(".strip li")) == PROBES, "a run without groups is shown whole"
    assert tab.one("#group").is_displayed() and tab.one("#group").get_attribute("value") == ""
    show(tab, "u_honest")
    assert len(tab.all(".strip li")) == few and tab.one("#group").get_attribute("value") == "=tagged"


def test_keys_after_a_click_on_the_slider_of_the_epochs(tab):
    from selenium.webdriver.common.action_chains import ActionChains
    from selenium.webdriver.common.keys import Keys

    show(tab, "u_honest")
    tab.click("#epoch")  # its middle
    epoch = tab.epoch
    assert epoch.startswith(("Epoch 1", "Epoch 2"))

    def press(key):
        ActionChains(tab.driver).send_keys(key).perform()
        tab.settle()

    press(Keys.ARROW_DOWN)
    assert tab.one("[aria-selected=true]").get_attribute("id") == "option_probe_01" and tab.epoch == epoch
    press(Keys.ARROW_UP)
    assert tab.one("[aria-selected=true]").get_attribute("id") == "option_probe_00" and tab.epoch == epoch
    press(Keys.ARROW_LEFT)
    assert int(tab.epoch.split()[1]) == int(epoch.split()[1]) - 1
    press(" ")
    assert tab.one("#play").get_attribute("title") == "Pause"
    press(" ")
    assert tab.one("#play").get_attribute("title") == "Play"


def test_of_a_very_long_run_some_epochs_are_shown_and_it_is_said(tab):
    show(tab, "y_long")
    until(lambda: any("epochs of run y_long/cam are left out" in words for words in tab.texts(".problems p")))
    (said,) = [words for words in tab.texts(".problems p") if "left out" in words]
    assert said.startswith("40 of 80 epochs of run y_long/cam are left out, evenly")
    assert tab.epoch == "Epoch 79 (40 of 40)"
