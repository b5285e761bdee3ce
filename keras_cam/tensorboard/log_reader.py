"""Read the records of the CAM tab through TensorBoard's data provider: checked, in order, and never too many.

Only the data provider is asked, so that both of TensorBoard's loaders serve. What it gives may be anybody's: a record
that is not whole is left out and counted, and what cannot be read at all is refused in words.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from tensorboard.data import provider as data_provider
from tensorboard.errors import PublicError

from keras_cam.tensorboard.records import (
    EPOCHS,
    EPOCHS_TAG,
    MAPS,
    PICTURES,
    PLUGIN,
    decode_epoch,
    decode_maps,
    kind_of,
    tag_of,
)

LONGEST_NAME = 1000  # of a run, in characters
MOST_RECORDS = 20_000  # of one read
MOST_BYTES = 64 * 2**20  # of one read, and of one reply
MOST_BLOBS = 16  # in one record of pictures; ours hold one
FILES = ((b"\x89PNG\r\n\x1a\n", "image/png"), (b"\xff\xd8\xff", "image/jpeg"))
MAPS_TAG = re.compile(rf"{PLUGIN}/(probe_[0-9]{{1,5}})/{MAPS}", re.ASCII)


class RequestError(Exception):
    """A request that gets no data.

    Args:
        status: of HTTP.
        words: for the user.
    """

    def __init__(self, status: int, words: str) -> None:
        super().__init__(words)
        self.status = status


class Series(NamedTuple):
    """The records of a tag, by step.

    Attributes:
        records: (step, wall time or None, record), each step once: the last that was written.
        dropped: how many were left out because they were not whole.
        thinned: how many were left out because all would be too much.
    """

    records: list[tuple[int, float | None, Any]]
    dropped: int
    thinned: int = 0


class Log:
    """The CAM data of one experiment.

    Args:
        provider: TensorBoard's data provider.
        context: of the request, for the provider.
        experiment: its id.
    """

    def __init__(self, provider: Any, context: Any, experiment: str) -> None:
        self._provider, self._context, self._experiment = provider, context, experiment

    def runs(self) -> list[dict[str, Any]]:
        """Runs that hold our data; nothing is read for it.

        Returns:
            For each "run", how many "epochs" it has come to, the "wall_time" of the last that was written (None where
            unknown) and the ids of its "probes".
        """
        runs = []
        for run, tags in sorted(self._request(self._provider.list_tensors).items()):
            # A tag is ours if its metadata say so; what a probe has is told by the names of its tags.
            kinds = {tag: kind_of(series.plugin_content) for tag, series in tags.items()}
            matches = [MAPS_TAG.fullmatch(tag) for tag, kind in kinds.items() if kind == MAPS]
            probes = sorted((match[1] for match in matches if match), key=lambda probe: int(probe.partition("_")[2]))
            summaries = tags[EPOCHS_TAG] if kinds.get(EPOCHS_TAG) == EPOCHS else None
            if len(run) > LONGEST_NAME or (not probes and summaries is None):
                continue
            latest: dict[str, Any] = {"epochs": None, "wall_time": None}
            if summaries is not None:  # of a run that has started again: epochs as before
                latest = {"epochs": summaries.max_step + 1, "wall_time": _finite_or_none(summaries.max_wall_time)}
            runs.append({"run": run, **latest, "probes": probes})
        return runs

    def epochs(self, run: str) -> Series:
        """The summaries of a run; of very many, some evenly over all epochs, the last among them.

        Args:
            run: its name.

        Returns:
            Records as `decode_epoch` gives them.

        Raises:
            RequestError: there are none, one alone is too much, or they cannot be read.
        """
        return self._series(run, EPOCHS_TAG, EPOCHS, decode_epoch, MOST_BYTES // 4 * 3)  # what is sent may be longer

    def maps(self, run: str, probe: str) -> Series:
        """The maps of a probe; arguments and errors as for `epochs`.

        Args:
            run: the run's name.
            probe: the probe's id.

        Returns:
            `MapsRecord`s; all, or where they are too much none.
        """
        return self._series(run, tag_of(probe, MAPS), MAPS, decode_maps)

    def picture(self, run: str, probe: str, step: int) -> tuple[bytes, str]:
        """The picture that the maps of a step lie on.

        Args:
            run: the run's name.
            probe: the probe's id.
            step: the last picture at or before it is meant, or the first if there is none.

        Returns:
            A JPEG or PNG file, and its MIME type.

        Raises:
            RequestError: there is none, or it is no such file.
        """
        tag = tag_of(probe, PICTURES)
        series = self._description(self._request(self._provider.list_blob_sequences, run, tag), run, tag, PICTURES)
        if not 0 < (series.max_length or 0) <= MOST_BLOBS:
            raise RequestError(
                422, f"{tag} in run {run!r} holds {series.max_length} pictures in a record instead of one."
            )
        # Reading a series gives keys of its pictures; one picture alone is fetched.
        reply = self._request(self._provider.read_blob_sequences, run, tag, downsample=MOST_RECORDS)
        data = sorted((datum for datum in _data_of(reply, run, tag) if datum.values), key=lambda datum: datum.step)
        if not data:
            raise RequestError(404, f"There is no picture of {probe} in run {run!r}.")
        earlier = [datum for datum in data if datum.step <= step] or data[:1]
        key = earlier[-1].values[0].blob_key
        blob = self._guarded(lambda: self._provider.read_blob(self._context, blob_key=key))
        # What a browser is told to be a picture must begin like one.
        mime = next((mime for start, mime in FILES if isinstance(blob, bytes) and blob.startswith(start)), None)
        if mime is None:
            raise RequestError(422, f"{tag} in run {run!r} holds something that is neither a JPEG nor a PNG file.")
        return blob, mime

    def _series(
        self, run: str, tag: str, kind: str, decode: Callable[[Sequence[bytes]], Any], room: int | None = None
    ) -> Series:
        """The records of a tag, decoded; where they take more than `room` bytes, some evenly, the last among them."""
        self._description(self._request(self._provider.list_tensors, run, tag), run, tag, kind)
        data = _data_of(self._request(self._provider.read_tensors, run, tag, downsample=MOST_RECORDS), run, tag)
        tensors = [_strings(datum.numpy) for datum in data]
        thinned = 0
        if room is not None and (size := _size(tensors)) > room:
            kept = slice(-1, None, -math.ceil(size / room))  # from the last on
            thinned = len(data) - len(data[kept])
            data, tensors = data[kept][::-1], tensors[kept][::-1]
        if (size := _size(tensors)) > MOST_BYTES:
            raise RequestError(413, _too_much(f"{tag} in run {run!r} holds {size / 2**20:.0f} MiB"))
        # A step that was written twice, by a run that started again, is as it was written last.
        records: dict[int, tuple[int, float | None, Any]] = {}
        dropped = 0
        for datum, strings in zip(data, tensors, strict=True):
            try:
                records[int(datum.step)] = (int(datum.step), _finite_or_none(datum.wall_time), decode(strings))
            except ValueError:
                dropped += 1
        return Series([records[step] for step in sorted(records)], dropped, thinned)

    def _description(self, listed: Any, run: str, tag: str, kind: str) -> Any:
        """The provider's description of a tag that must hold records of a kind."""
        series = listed.get(run, {}).get(tag)
        if series is None:
            raise RequestError(404, f"There is no {tag} in run {run!r}.")
        if kind_of(series.plugin_content) != kind:
            raise RequestError(422, f"{tag} in run {run!r} was written by another tool or by a newer keras_cam.")
        return series

    def _request(
        self, method: Callable[..., Any], run: str | None = None, tag: str | None = None, **options: Any
    ) -> Any:
        """What a method of the data provider gives for our plugin, of one tag or of all."""
        tags = None if run is None or tag is None else data_provider.RunTagFilter(runs=[run], tags=[tag])
        of_plugin = {"experiment_id": self._experiment, "plugin_name": PLUGIN, "run_tag_filter": tags}
        return self._guarded(lambda: method(self._context, **of_plugin, **options))

    def _guarded(self, request: Callable[[], Any]) -> Any:
        """What the data provider gives; whatever goes wrong there as a refusal in words."""
        try:
            return request()
        except PublicError as error:
            raise RequestError(error.http_code, str(error)) from error
        except Exception as error:  # gRPC's, or what a tensor of another tool leads to
            code = getattr(getattr(error, "code", lambda: None)(), "name", "")
            if code == "RESOURCE_EXHAUSTED":
                words = _too_much("This holds more than TensorBoard's data server sends at once")
                raise RequestError(413, words) from error
            if code == "UNAVAILABLE":
                words = "TensorBoard's data server does not answer. Start tensorboard again."
                raise RequestError(503, words) from error
            words = f"TensorBoard cannot read this data ({type(error).__name__}); another tool may have written it."
            raise RequestError(422, words) from error


def _size(tensors: list[list[Any]]) -> int:
    return sum(len(string) for strings in tensors for string in strings)


def _finite_or_none(seconds: Any) -> float | None:
    return float(seconds) if math.isfinite(seconds) else None


def _too_much(what: str) -> str:
    return f"{what}; at most {MOST_BYTES // 2**20} MiB are read. Map fewer classes, or every few epochs only."


def _data_of(reply: Any, run: str, tag: str) -> Any:
    """The data of one tag in the provider's reply; none where it has gone meanwhile."""
    return reply.get(run, {}).get(tag, [])


def _strings(tensor: Any) -> list[Any]:
    """The strings of a tensor of ours; none for any other tensor."""
    return tensor.tolist() if tensor.dtype == object and tensor.ndim == 1 and tensor.size <= 2 else []
