"""The methods: one signature (`View` in, maps out), one table (`METHODS`)."""

from keras_cam.methods.registry import AUTO, METHODS, Method, check_maps, find_method
from keras_cam.methods.view import View

__all__ = ["AUTO", "METHODS", "Method", "View", "check_maps", "find_method"]
