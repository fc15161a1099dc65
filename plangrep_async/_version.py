"""The version of the library, for the package, its builds and its User-Agent."""

__version__ = "0.1.0"
