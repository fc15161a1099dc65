"""The command line: `plangrep-async`. Needs the extra `cli`, which `__main__` checks."""
