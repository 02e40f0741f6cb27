"""Faithfulness: whether an attribution says what the model really reads."""
