"""Images in, result out: inputs, compiled maps, ensembles, diagnosis."""
