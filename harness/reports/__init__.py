"""Renderers of a leaderboard: Markdown, CSV, JSON, LaTeX, plain text, the terminal, and the HTML page."""
