"""The demo: a network that learns a source tag instead of the object, and how its maps give it away."""

from keras_cam.demo.run import DemoResult as DemoResult
from keras_cam.demo.run import run_demo as run_demo
