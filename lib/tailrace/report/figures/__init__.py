"""One function per figure: DataFrames in, a matplotlib Figure out, whose label states its facts in words.

Aggregate first, then draw: neither time nor size of a figure may grow with each request.
"""
