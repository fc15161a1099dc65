"""One module per contender: `python -m benchmarks.contenders.NAME PORT` prints its figures.

Each is what a competent user of its libraries would write, with their defaults unless its docstring
says otherwise, and ends with every job as a typed object with the same attributes.
"""
