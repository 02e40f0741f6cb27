"""Tasks whose true answer is known, because the data were generated or the weights set by hand."""
