"""Checks of options: what cannot work is refused at once, by the name of the option."""

import math
import sys
from inspect import iscoroutinefunction

from plangrep_async.errors import ConfigurationError


def check_type(name: str, value: object, expected: type) -> None:
    """Demand an object of this class."""
    if not isinstance(value, expected):
        found = type(value).__name__
        raise ConfigurationError(f"{name} must be a {expected.__name__}, not a {found}")


def check_count(name: str, value: object, *, least: int) -> None:
    """Demand an integer of at least so much."""
    if isinstance(value, bool) or not isinstance(value, int):
        raise ConfigurationError(f"{name} must be an integer")
    if value < least:
        raise ConfigurationError(f"{name} must be at least {least}")


def check_rate(name: str, value: float | None) -> None:
    """Demand a number of times a second, or nothing."""
    if value is None:
        return
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    if not is_number or not 0 < value < math.inf:
        raise ConfigurationError(f"{name} must be a finite number above 0, or None")


def check_seconds(name: str, value: float, *, above_zero: bool = False) -> None:
    """Raise `ConfigurationError` unless the value is a finite number of seconds."""
    is_number = isinstance(value, (int, float)) and not isinstance(value, bool)
    if not is_number or not 0 <= value <= sys.float_info.max or (above_zero and value == 0):
        bound = "above 0" if above_zero else "of at least 0"
        raise ConfigurationError(f"{name} must be a finite number of seconds {bound}")


def check_hook(name: str, hook: object, takes: str, *, is_awaited: bool = False) -> None:
    """Demand a function, or nothing; a plain one where nobody would await it."""
    if hook is not None and (not callable(hook) or (iscoroutinefunction(hook) and not is_awaited)):
        kind = "an async" if is_awaited else "a plain"
        raise ConfigurationError(f"{name} must be {kind} function of {takes}")
