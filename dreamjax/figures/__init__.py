"""Figures and tables of papers: panels, numbers expected and obtained, records.

A figure is a function from a `Context` (which network, how large, which seed) to what
it `Made`: panels as in the paper and rows of numbers. `write_figure` draws, judges and
files them; `experiments/figures` holds the figures themselves.
"""
