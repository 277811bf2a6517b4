"""One function per figure: DataFrames in, a matplotlib Figure out, its facts in words as its label.

Aggregate first, then draw: every figure takes less than a second for a million records.
"""
