"""What can go wrong, one file per group; `python -m tests.matrix` shows which test is for what."""
