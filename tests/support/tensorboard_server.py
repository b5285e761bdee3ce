"""TensorBoard over a log directory with our plugin: in this process with either loader, or a process of its own."""

import configparser
import contextlib
import json
import os
import queue
import re
import signal
import struct
import subprocess
import sys
import threading
import urllib.error
import urllib.request
from pathlib import Path

import numpy as np
import werkzeug.test
from tensorboard import program
from tensorboard.backend import application
from tensorboard.backend.event_processing import data_ingester
from tensorboard.data import server_ingester
from tensorboard.plugins.core.core_plugin import CorePluginLoader

import keras_cam
from keras_cam.tensorboard import records
from keras_cam.tensorboard.loader import CAMLoader
from keras_cam.tensorboard.summary_writer import SummaryWriter

PNG = b"\x89PNG\r\n\x1a\n"
JPEG = b"\xff\xd8\xff"
PATIENCE = 120  # seconds, for a machine with much else to do
PLACES = {"placement": ((-3.5, 8.0), (0.5, 4.0)), "field": (19.0, 0.0), "size": (40, 30)}


def maps_of(step, classes=(4, 7)):
    """Maps that say which step they are of."""
    numbers = 100 * step + np.arange(6 * len(classes), dtype="<f4").reshape(len(classes), 2, 3)
    return records.MapsRecord(numbers - 2.5, tuple(classes), **PLACES)


def half_precision(record):
    """A record of maps in half the bytes, as it is read too, though it is not written."""
    header, _ = records.encode_maps(record)
    return [json.dumps(json.loads(header) | {"dtype": "<f2"}).encode(), record.maps.astype("<f2").tobytes()]


def probe_of(probe="probe_00", classes=(4, 7), **more):
    """A probe as the callback describes it."""
    about = {"probe": probe, "group": "", "name": "a cat", "true": 4, "predicted": 7, "picture": 0}
    about |= {"classes": list(classes)}
    about |= {"names": {"4": "cat", "7": "dog"}, "p": [0.25, 0.5], "p_true": 0.25, "boxes": [[1, 2, 3.5, 4]]}
    about |= {"image": "89abcdef", "top": [[7, 0.5], [4, 0.25], [0, 0.125]], "heat_of": 7, "inside_of": 4}
    return about | {"numbers": {"energy_inside": 0.75}} | more


def write_step(writer, step, probes=("probe_00",), picture=None):
    """Write what the callback writes for an epoch."""
    for probe in probes:
        if picture is not None:
            writer.record(records.tag_of(probe, records.PICTURES), records.PICTURES, [picture], step=step)
        writer.record(records.tag_of(probe, records.MAPS), records.MAPS, records.encode_maps(maps_of(step)), step=step)
    summary = records.encode_epoch(step, [probe_of(probe) for probe in probes])
    writer.record(records.EPOCHS_TAG, records.EPOCHS, summary, step=step)


def write_run(directory, steps, probes=("probe_00",)):
    """Write a run: a picture at its first step, maps and a summary at each."""
    writer = SummaryWriter(str(directory))
    for step in steps:
        write_step(writer, step, probes, PNG + b"%d" % step if step == steps[0] else None)
    writer.close()


def unpack(body):
    """Header and maps of a reply of /maps, read as the contract says."""
    (length,) = struct.unpack_from("<I", body)
    header = json.loads(body[4 : 4 + length])
    begin = -(-(4 + length) // 4) * 4
    numbers = np.frombuffer(body, "<f4", offset=begin)
    maps = {}
    for about in header["steps"]:
        size = int(np.prod(about["shape"]))
        maps[about["step"]] = numbers[about["offset"] : about["offset"] + size].reshape(about["shape"])
    assert sum(grid.size for grid in maps.values()) == numbers.size
    return header, maps


class Client:
    """Asks the routes of the plugin in a whole TensorBoard application."""

    def __init__(self, app, prefix=""):
        self._client, self._prefix = werkzeug.test.Client(app), prefix

    def get(self, path, **query):
        return self._client.get(f"{self._prefix}/data/{path}", query_string=query)

    def ask(self, route, **query):
        return self.get(f"plugin/keras_cam/{route}", **query)

    def json(self, route, **query):
        """The reply of a request that must succeed."""
        reply = self.ask(route, **query)
        assert reply.status_code == 200, reply.text
        return strictly(reply.data)

    def refused(self, route, **query):
        """Status and words of a request that must fail."""
        reply = self.ask(route, **query)
        assert reply.mimetype == "application/json", reply.text
        said = strictly(reply.data)
        assert list(said) == ["error"] and "Traceback" not in said["error"]
        return reply.status_code, said["error"]


def strictly(data):
    """JSON as a browser reads it."""

    def refuse(word):
        raise ValueError(f"{word} is no JSON")

    return json.loads(data, parse_constant=refuse)


def has_data_server():
    try:
        return server_ingester.get_server_binary() is not None
    except server_ingester.NoDataServerError:
        return False


@contextlib.contextmanager
def serving(logdir, loader="python", prefix="", flags=()):
    """A client of TensorBoard in this process, after its loader ("python" or "rust") has read the directory."""
    loaders = [CorePluginLoader(), CAMLoader()]
    tensorboard = program.TensorBoard(plugins=loaders)
    given = ["--logdir", str(logdir), "--reload_interval=0", "--reload_task=blocking", f"--path_prefix={prefix}"]
    tensorboard.configure(argv=["tensorboard", *given, *flags])
    with contextlib.ExitStack() as stack:
        if loader == "python":
            ingester = data_ingester.LocalDataIngester(tensorboard.flags)
            ingester.start()
        else:
            ingester = stack.enter_context(_data_server(tensorboard.flags))
        yield Client(application.TensorBoardWSGIApp(tensorboard.flags, loaders, ingester.data_provider), prefix)


@contextlib.contextmanager
def _data_server(flags):
    """TensorBoard's data server, once it has read the directory."""
    kept = ",".join(f"{plugin}={count or 'all'}" for plugin, count in flags.samples_per_plugin.items())
    command = [server_ingester.get_server_binary().path, f"--logdir={flags.logdir}", "--reload=once", "--verbose"]
    command += ["--port=0", "--die-after-stdin", f"--samples-per-plugin={kept}"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        try:
            said = [process.stderr.readline()]
            while "Finished load cycle" not in said[-1]:
                assert said[-1], f"the data server ended early: {said}"
                said.append(process.stderr.readline())
            (address,) = re.findall(r"listening on (\S+)", "".join(said))
            ingester = server_ingester.ExistingServerDataIngester(address, channel_creds_type=flags.grpc_creds_type)
            ingester.start()
            yield ingester
        finally:
            process.kill()


def install(folder, package=None):
    """Make the entry points of setup.cfg seen from a folder, with a package of its own or the one that is tested.

    Returns:
        What PYTHONPATH must be.
    """
    setup = configparser.ConfigParser()
    setup.read(Path(__file__).resolve().parents[2] / "setup.cfg")
    points = setup["options.entry_points"]["tensorboard_plugins"]
    about = folder / f"keras_cam-{keras_cam.__version__}.dist-info"
    about.mkdir(parents=True)
    (about / "METADATA").write_text(f"Metadata-Version: 2.1\nName: keras-cam\nVersion: {keras_cam.__version__}\n")
    (about / "entry_points.txt").write_text(f"[tensorboard_plugins]\n{points}\n")
    parent = Path(keras_cam.__file__).parents[1] if package is None else package
    return os.pathsep.join([str(folder), str(parent)])


@contextlib.contextmanager
def tensorboard_process(logdir, folder, *flags, tensorflow=False, package=None):
    """A `tensorboard` of its own: its address without a slash at the end, what it has said so far, the process.

    TensorFlow takes it seconds to import, and nothing that we ask of it needs it.
    """
    blocked = "" if tensorflow else "import sys; sys.modules['tensorflow'] = None; "
    code = f"{blocked}from tensorboard.main import run_main; run_main()"
    command = [sys.executable, "-c", code, "--logdir", str(logdir), "--host=127.0.0.1", "--port=0", *flags]
    folder.mkdir(exist_ok=True)
    environment = os.environ | {"PYTHONPATH": install(folder, package), "TMPDIR": str(folder)}
    said, address = [], queue.Queue()

    def listen():
        for line in process.stderr:
            said.append(line)
            if line.startswith("TensorBoard ") and " at http" in line:
                address.put(line.partition(" at ")[2].partition(" (")[0].rstrip("/"))
        address.put(None)

    with subprocess.Popen(command, cwd=folder, env=environment, stderr=subprocess.PIPE, text=True) as process:
        thread = threading.Thread(target=listen, daemon=True)
        thread.start()
        try:
            found = address.get(timeout=PATIENCE)
            assert found, "".join(said)
            yield found, said, process
        finally:
            process.send_signal(signal.SIGTERM)  # nothing where it has ended already
            try:
                process.wait(20)
            except subprocess.TimeoutExpired:
                process.kill()
            thread.join(20)


def fetch(address):
    """Status, headers and body of a request; errors are replies like others."""
    try:
        with urllib.request.urlopen(address, timeout=PATIENCE) as reply:
            return reply.status, reply.headers, reply.read()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.headers, error.read()
