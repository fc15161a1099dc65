"""The API key: where it comes from, what it may look like, and how to keep it out of texts."""

import asyncio
import inspect
import os
import re
from collections.abc import Awaitable, Callable
from typing import Any

from plangrep_async.errors import ConfigurationError

KeySource = str | Callable[[], str] | Callable[[], Awaitable[str]]

ENVIRONMENT_VARIABLE = "PLANGREP_API_KEY"

_REMEMBERED = 7  # keys before the last one, which answers on their way may still repeat


class Credentials:
    """One API key, or a function that is asked for one: again after the API refused the last.

    No frame of this file keeps a key in a local variable while an error passes through it: a
    traceback may be shown with its variables.
    """

    def __init__(self, source: KeySource | None) -> None:
        try:
            name = "the API key" if source is not None else ENVIRONMENT_VARIABLE
            if source is None:
                source = os.environ.get(ENVIRONMENT_VARIABLE)
            if source is None:
                raise ConfigurationError(f"no API key: set {ENVIRONMENT_VARIABLE}, or pass api_key")
            if not isinstance(source, str) and not callable(source):
                raise ConfigurationError("api_key must be a text or a function that returns one")
            self._ask = None if isinstance(source, str) else source
            self._keys: tuple[str, ...] = (
                (_checked(source, name),) if isinstance(source, str) else ()
            )
        finally:
            del source
        self._asking = asyncio.Lock()
        self.version = 0
        """Counts the renewals: says which key was refused without holding it."""
        self._changed_at = 0  # the version that brought the last other key

    async def header(self) -> str:
        """Give the value for the Authorization header: RFC 6750, section 2.1."""
        if not self._keys and self._ask is not None:
            async with self._asking:  # those who need it at the same time ask once
                self._keys = self._keys or (await _asked_key(self._ask),)
        return f"Bearer {self._keys[0]}"

    async def renew(self, refused: int) -> bool:
        """Ask for another key than that of a version; whether there is another one now."""
        async with self._asking:
            if self._ask is not None and refused == self.version:
                self._keys = (await _asked_key(self._ask), *self._keys[:_REMEMBERED])
                self.version += 1
                if self._keys[:1] != self._keys[1:2] != ():
                    self._changed_at = self.version
            return self._changed_at > refused

    def hide(self, text: str) -> str:
        """Take the key, and those before it, out of what a server sent back, however escaped."""
        for key in self._keys:
            text = re.sub("".join(map(_spellings, key)), "[API key]", text)
        return text


def _spellings(character: str) -> str:
    """Give a pattern for a character, plain or escaped in JSON, in a JSON string, or in a URL."""
    number = ord(character)
    escaped = rf"\\{{1,8}}(?:u{number:04x}|x{number:02x})|%{number:02x}"
    return rf"(?:\\{{0,8}}{re.escape(character)}|(?i:{escaped}))"


async def _asked_key(ask: Callable[[], Any]) -> str:
    try:
        asked = ask()
        return _checked(await asked if inspect.isawaitable(asked) else asked)
    finally:
        asked = None


def _checked(key: object, name: str = "the API key") -> str:
    # A header value (RFC 9110, section 5.5), and no text that needs quoting. Never say the key.
    try:
        if not isinstance(key, str) or not key:
            raise ConfigurationError(f"{name} must be a text that is not empty")
        if not all("!" <= character <= "~" for character in key):
            raise ConfigurationError(
                f"{name} must be visible ASCII only: look for blanks or a line end around it"
            )
        return key
    finally:
        del key
