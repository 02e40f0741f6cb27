"""Faithfulness metrics: whether the model's output depends on the features that an attribution ranks first."""
