"""Methods: attributions of the output of a model to the steps or cells of its input."""
