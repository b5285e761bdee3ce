"""A Keras model as a flat program: written down, run in part, rewritten, and asked what is spatial."""
