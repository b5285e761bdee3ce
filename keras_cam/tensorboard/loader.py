"""What `tensorboard` loads at its start: the door to the CAM tab.

TensorBoard ends when an entry point cannot be imported or fails to fix flags, whoever's it is. So this file imports the
standard library and TensorBoard only, and no error leaves it.
"""

from __future__ import annotations

import logging
from typing import Any

from tensorboard.plugins import base_plugin

logger = logging.getLogger(__name__)

KEPT = 20_000  # records of a series; without a word from us TensorBoard keeps 10, or 100, at random


class CAMLoader(base_plugin.TBLoader):
    """Loads the plugin, or leaves the tab away and says why."""

    def fix_flags(self, flags: Any) -> None:
        """Let TensorBoard keep every epoch of ours, unless `--samples_per_plugin=keras_cam=...` says otherwise.

        Args:
            flags: TensorBoard's flags, changed in place.
        """
        # An error here would keep TensorBoard from starting, for all other plugins too.
        try:
            flags.samples_per_plugin.setdefault("keras_cam", KEPT)
        except Exception as error:
            logger.warning("The CAM tab may leave out epochs: samples_per_plugin could not be set (%r).", error)

    def load(self, context: Any) -> Any:
        """Make the plugin.

        Args:
            context: TensorBoard's `TBContext`.

        Returns:
            The plugin; None, after a warning, where that fails.
        """
        # The plugin imports more than this file does: NumPy, and parts of TensorBoard that another version may lack.
        try:
            from keras_cam.tensorboard.plugin import CAMPlugin

            return CAMPlugin(context)
        except Exception as error:
            logger.warning("TensorBoard runs without its CAM tab, which keras_cam failed to load: %r", error)
            return None
