"""TensorBoard: writing summaries (`keras_cam.tensorboard.summary_writer`).

This file imports nothing but the standard library: TensorBoard itself may load this package.
"""
