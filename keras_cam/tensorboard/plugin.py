"""The server side of the CAM tab: a TensorBoard plugin that answers with checked data, or with an error in words.

Nothing of a request reaches the file system: runs and probes are looked up with TensorBoard's data provider, and the
page's own files come from a table that is made at the start.
"""

from __future__ import annotations

import json
import logging
import re
import struct
from collections.abc import Callable, Mapping
from importlib import resources
from typing import Any

from tensorboard import plugin_util
from tensorboard.backend import http_util
from tensorboard.plugins import base_plugin
from werkzeug import wrappers

from keras_cam.tensorboard.log_reader import LONGEST_NAME, MOST_BYTES, Log, RequestError
from keras_cam.tensorboard.records import PLUGIN, PROBE, VERSION

logger = logging.getLogger(__name__)

STATIC = re.compile(r"[a-z][a-z0-9_-]*\.(js|css)", re.ASCII)
MIME = {"js": "text/javascript", "css": "text/css"}
JSON = "application/json"
STEP = re.compile(r"-?[0-9]{1,18}", re.ASCII)

Answer = tuple[bytes | str, str]  # and its MIME type


class CAMPlugin(base_plugin.TBPlugin):
    """The plugin.

    Args:
        context: TensorBoard's `TBContext`.
    """

    plugin_name = PLUGIN

    def __init__(self, context: Any) -> None:
        self._provider = context.data_provider

    def is_active(self) -> bool:
        """Whether to show the tab although no log holds our data; TensorBoard itself looks for that."""
        return False

    def frontend_metadata(self) -> Any:
        """What TensorBoard needs to know about the tab."""
        return base_plugin.FrontendMetadata(es_module_path="/index.js", tab_name="CAM")

    def get_plugin_apps(self) -> dict[str, Any]:
        """The routes: data, and the files of the page."""
        data = {"/runs": self._runs, "/epochs": self._epochs, "/maps": self._maps, "/picture": self._picture}
        return {route: _application(answer) for route, answer in (data | _page()).items()}

    def _log(self, request: Any) -> Log:
        environ = request.environ
        return Log(self._provider, plugin_util.context(environ), plugin_util.experiment_id(environ))

    def _runs(self, request: Any) -> Answer:
        return _json({"v": VERSION, "runs": self._log(request).runs()}), JSON

    def _epochs(self, request: Any) -> Answer:
        run = _run(request.args)
        series = self._log(request).epochs(run)
        epochs = [{**record, "step": step, "wall_time": time} for step, time, record in series.records]
        left_out = {"dropped": series.dropped, "thinned": series.thinned}
        return _json({"v": VERSION, "run": run, "epochs": epochs, **left_out}), JSON

    def _maps(self, request: Any) -> Answer:
        series = self._log(request).maps(_run(request.args), _probe(request.args))
        # The header says of each step where its numbers begin among those that follow it.
        steps, offset = [], 0
        for step, time, record in series.records:
            about = record._asdict() | {"step": step, "wall_time": time, "shape": record.maps.shape, "offset": offset}
            del about["maps"]
            steps.append(about)
            offset += record.maps.size
        _check_size(4 * offset)
        header = _json({"v": VERSION, "steps": steps, "dropped": series.dropped}).encode()
        header += b" " * (-len(header) % 4)  # spaces after JSON mean nothing, and the numbers start at a multiple of 4
        numbers = [record.maps.tobytes() for _, _, record in series.records]
        return b"".join([struct.pack("<I", len(header)), header, *numbers]), "application/octet-stream"

    def _picture(self, request: Any) -> Answer:
        run, probe, step = _run(request.args), _probe(request.args), request.args.get("step", "")
        if not STEP.fullmatch(step):
            raise RequestError(400, "step must be a whole number.")
        return self._log(request).picture(run, probe, int(step))


def _application(answer: Callable[[Any], Answer]) -> Any:
    """A WSGI application that answers a request, with an error as JSON where it cannot."""

    def respond(request: Any) -> Any:
        status, headers = 200, []
        # Whatever goes wrong is an answer in words, which the page shows.
        try:
            if request.method not in ("GET", "HEAD"):
                headers = [("Allow", "GET, HEAD")]
                raise RequestError(405, f"{request.method} is not answered here, only GET is.")
            content, mime = answer(request)
            _check_size(len(content))
        except RequestError as error:
            status, content, mime = error.status, _json({"error": str(error)}), JSON
        except Exception as error:
            logger.exception("The CAM tab's request %s failed.", request.path)
            words = f"keras_cam failed ({type(error).__name__}); the terminal of tensorboard says more."
            status, content, mime = 500, _json({"error": words}), JSON
        return http_util.Respond(request, content, mime, code=status, headers=headers)

    return wrappers.Request.application(respond)


def _page() -> dict[str, Callable[[Any], Answer]]:
    """Routes of the page's own files: those that lie beside this one now."""
    folder = resources.files("keras_cam.tensorboard").joinpath("static")
    files = [file for file in folder.iterdir() if file.is_file() and STATIC.fullmatch(file.name)]
    return {f"/{file.name}": _file(file) for file in files}


def _file(file: Any) -> Callable[[Any], Answer]:
    def answer(request: Any) -> Answer:
        try:
            return file.read_bytes(), MIME[file.name.rpartition(".")[2]]
        except OSError as error:
            raise RequestError(
                404, f"{file.name} is gone; keras_cam was removed or changed. Start tensorboard again."
            ) from error

    return answer


def _run(arguments: Mapping[str, str]) -> str:
    run = arguments.get("run", "")
    if not 0 < len(run) <= LONGEST_NAME:
        raise RequestError(400, f"run must be the name of a run, of 1 to {LONGEST_NAME} characters; {len(run)} came.")
    return run


def _probe(arguments: Mapping[str, str]) -> str:
    probe = arguments.get("probe", "")
    if not PROBE.match(probe):
        raise RequestError(400, "probe must be the id of a probe, such as probe_00.")
    return probe


def _check_size(size: int) -> None:
    if size > MOST_BYTES:
        raise RequestError(
            413,
            f"The answer would be {size / 2**20:.0f} MiB long; at most {MOST_BYTES // 2**20} MiB are sent. "
            f"Map fewer classes, or every few epochs only.",
        )


def _json(content: Any) -> str:
    """JSON in ASCII, or an error: never a NaN, which no browser reads."""
    return json.dumps(content, allow_nan=False, separators=(",", ":"))
