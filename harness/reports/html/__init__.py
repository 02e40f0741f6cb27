"""A board as one page that needs nothing but itself: tables to sort and filter, pictures, single explanations.

The tables are those of :mod:`xrnnbench.harness.reports.board_sections`, so that the page says what the other boards
say. Pictures are computed here and written by the templates beside these modules, which escape whatever anybody called
a plug-in. The style and the script are in the page, and its content security policy lets it load and run nothing else.
"""

from .page import page

__all__ = ["page"]
