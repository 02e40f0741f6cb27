"""Built-in tasks: synthetic data with known truth, time series, text classification, and translation."""
