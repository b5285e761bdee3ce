"""The CAM tab in a browser, as its tests use it: what to wait for, what to press, what is seen."""

import contextlib
import shutil
import time
import urllib.error
import urllib.request

import numpy as np
import pytest
from support.dashboard_logs import SIZE

PATIENCE = 60  # seconds, for a machine with much else to do
COUNT = """
const context = arguments[0].getContext('2d'), {width, height} = arguments[0];
const {data} = context.getImageData(0, 0, width, height), [red, green, blue] = arguments[1];
let count = 0;
for (let at = 0; at < data.length; at += 4)
  count += data[at] === red && data[at + 1] === green && data[at + 2] === blue && data[at + 3] === 255;
return count;
"""
SEEN = """
const small = new OffscreenCanvas(arguments[1], arguments[1]), context = small.getContext('2d');
context.imageSmoothingEnabled = false;
context.drawImage(arguments[0], 0, 0, arguments[1], arguments[1]);
return [...context.getImageData(0, 0, arguments[1], arguments[1]).data];
"""


RELOAD = """
const [frame] = document.querySelectorAll('iframe');
if (!frame?.offsetParent || document.body.classList.contains('dark-mode')) return false;
history.replaceState(history.state, '', arguments[0]);
frame.contentWindow.stale = true;
frame.contentWindow.location.reload();
return true;
"""
# The page looks for new epochs every five seconds; who waits for that looks every fifth of a second.
HASTE = "const slow = window.setTimeout; window.setTimeout = (f, ms, ...rest) => slow(f, Math.min(ms, 200), ...rest);"


class Tab:
    """The CAM tab of a TensorBoard."""

    def __init__(self, driver, address):
        self.driver, self.address = driver, address

    def open(self, hash="#keras_cam", dark=False, anew=False):
        """Load the tab; TensorBoard around it stays as it is where it shows the tab already, unless `anew`."""
        page = f"{self.address}?darkMode={str(dark).lower()}"
        if anew or not self.driver.current_url.startswith(page) or not self.reload(hash):
            self.driver.get("about:blank")
            self.driver.get(f"{page}{hash}")
            until(lambda: any(frame.is_displayed() for frame in self.all("iframe")))
            self.enter()
        until(lambda: self.all("figure canvas") and not any("Loading" in words for words in self.texts(".words")))
        self.settle()
        return self

    def reload(self, hash):
        """Load what is in the frame once more, with another address around it; False where the tab is not shown."""
        self.driver.switch_to.default_content()
        if not self.js(RELOAD, hash):
            return False
        self.enter()
        until(lambda: self.js("return window.stale === undefined && document.readyState === 'complete';"))
        return True

    def enter(self):
        self.driver.switch_to.default_content()
        self.driver.switch_to.frame(self.driver.find_element("css selector", "iframe"))

    def js(self, script, *arguments):
        return self.driver.execute_script(script, *arguments)

    def all(self, selector):
        return self.driver.find_elements("css selector", selector)

    def one(self, selector):
        return self.driver.find_element("css selector", selector)

    def texts(self, selector):
        return self.js("return [...document.querySelectorAll(arguments[0])].map((e) => e.textContent);", selector)

    def settle(self):
        """Wait until all that was asked for is there and drawn."""
        self.driver.execute_async_script(
            "const done = arguments[0]; requestAnimationFrame(() => requestAnimationFrame(() => setTimeout(done, 30)));"
        )
        until(lambda: not any("Loading" in words for words in self.texts(".words, .waiting")))

    def click(self, selector):
        self.one(selector).click()
        self.settle()

    def press(self, *keys):
        """Keys pressed nowhere in particular."""
        from selenium.webdriver.common.action_chains import ActionChains

        self.js("document.activeElement.blur();")
        ActionChains(self.driver).send_keys(*keys).perform()
        self.settle()

    def choose(self, name, value):
        from selenium.webdriver.support.select import Select

        Select(self.one(f"#{name}")).select_by_value(value)
        self.settle()

    def slide(self, name, value):
        script = "arguments[0].value = arguments[1]; arguments[0].dispatchEvent(new Event('input'));"
        self.js(script, self.one(f"#{name}"), value)
        self.settle()

    def seen(self, figure):
        """The pixels of a figure, (SIZE, SIZE, 3)."""
        pixels = self.js(SEEN, self.all("figure canvas:first-child")[figure], SIZE)
        return np.array(pixels, float).reshape(SIZE, SIZE, 4)[..., :3]

    def marked(self, color, figure=1):
        return self.js(COUNT, self.all("figure .marks")[figure], color)

    def run(self, name):
        """The box that shows the run of which the name begins so."""
        (index,) = [index for index, text in enumerate(self.texts(".runs label")) if text.startswith(name)]
        return self.all(".runs input")[index]

    @property
    def epoch(self):
        return self.one("output.epoch").text.capitalize()


@contextlib.contextmanager
def chromium(profile, size):
    """A headless browser that reaches nothing but this machine, and keeps what is said in its console."""
    webdriver = pytest.importorskip("selenium.webdriver", reason="selenium is not installed: pip install selenium")
    browser = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    driver = shutil.which("chromedriver")
    if not (browser and driver):
        pytest.skip("no Chromium with chromedriver on the PATH: apt-get install chromium chromium-driver")
    options = webdriver.ChromeOptions()
    options.binary_location = browser
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    for argument in (
        "--headless=new",
        "--no-sandbox",
        "--disable-gpu",
        "--disable-dev-shm-usage",
        "--disable-background-networking",
        "--host-resolver-rules=MAP * ~NOTFOUND , EXCLUDE 127.0.0.1",
        f"--user-data-dir={profile}",
        f"--window-size={size}",
    ):
        options.add_argument(argument)
    opened = webdriver.Chrome(options=options, service=webdriver.ChromeService(driver))
    yield opened
    opened.quit()


@contextlib.contextmanager
def in_haste(driver):
    """Pages that are opened meanwhile wait for nothing longer than a fifth of a second."""
    added = driver.execute_cdp_cmd("Page.addScriptToEvaluateOnNewDocument", {"source": HASTE})
    yield
    driver.execute_cdp_cmd("Page.removeScriptToEvaluateOnNewDocument", added)


def until(condition, patience=PATIENCE):
    """The first true value of the condition, asked for until patience ends."""
    end = time.monotonic() + patience
    while not (value := condition()):
        assert time.monotonic() < end, f"not within {patience} s"
        time.sleep(0.05)
    return value


def get(url):
    with contextlib.suppress(urllib.error.URLError, ConnectionError, TimeoutError):
        return urllib.request.urlopen(url, timeout=10).read()
    return b""
