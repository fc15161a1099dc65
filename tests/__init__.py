"""Tests of plangrep-async."""
