"""How options are checked: a number out of range is refused by its name."""


def demand(name: str, value: float, *, at_least: float, at_most: float = float("inf")) -> None:
    """Raise `ValueError` unless the number lies between the two, both included."""
    if not at_least <= value <= at_most:
        limit = f"at most {at_most}" if value > at_most else f"at least {at_least}"
        raise ValueError(f"{name} must be {limit}, not {value}")
