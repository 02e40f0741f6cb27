"""HTML renderer of a leaderboard: one self-contained page with sortable tables, filters, figures and attributions.

The tables are those of :mod:`xrnnbench.harness.reports.board_sections`, so that the page has the same content as the
other formats. Figures are computed here and written by the templates next to these modules. The templates escape the
names of plug-ins, which may hold any character. Style and script are part of the page, and its content security policy
lets it load and run nothing else.
"""

from .page import render_page

__all__ = ["render_page"]
