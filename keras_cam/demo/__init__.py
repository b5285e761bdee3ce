"""The demo: a network that learns a source tag instead of the object, and how its maps give it away."""

from keras_cam.demo.run import DemoResult, run_demo

__all__ = ["DemoResult", "run_demo"]
