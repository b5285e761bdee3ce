"""What keras_cam costs and what its maps are worth, measured: `python -m benchmarks --help`."""
