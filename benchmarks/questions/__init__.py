"""One module per question: `ask` measures and returns an answer, which has a text and charts.

The answer's `str` is its tables. `charts` gives its SVG files, name to text.
"""

from collections.abc import Mapping
from typing import Protocol

import attrs


class Answer(attrs.AttrsInstance, Protocol):
    """What a question's `ask` returns: an attrs object, so that its figures become JSON."""

    def charts(self) -> Mapping[str, str]:
        """Return file names and their SVG."""
