"""Tasks: data, the recurrent models trained on them, and what is known about the truth."""
