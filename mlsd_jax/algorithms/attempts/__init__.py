"""Solutions in the order in which somebody handed them in, the verdict of each on its first line, after its number.

They are judged on usual cases and on large ones: `python benchmarks/algorithms_verdicts.py`.
"""
