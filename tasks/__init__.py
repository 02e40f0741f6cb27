"""Tasks: data, recurrent models trained on them, and ground truths where they are known."""
