"""Methods: everything that explains a model."""
