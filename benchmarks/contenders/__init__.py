"""One module per contender: `python -m benchmarks.contenders.NAME PORT [PROJECTS]` prints figures.

`stream` reads one project, `bulk` many of them.

Each is what a competent user of its libraries would write, with their defaults unless its docstring
says otherwise, and ends with every job as a typed object with the same attributes.
"""

IN_FLIGHT = 32  # requests of `bulk` at any time
