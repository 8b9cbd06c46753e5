"""Errors that carry more than a built-in exception does."""


class FileFormatError(ValueError):
    """A file from outside does not hold what was expected; the message names file, line and expectation."""


class MissingDependency(ImportError):
    """An optional library is needed for what was asked; the message tells how to install it."""

    def __init__(self, library: str, extra: str, purpose: str) -> None:
        super().__init__(f"{purpose} needs {library}, which is not installed: pip install 'vanfast[{extra}]'")


class BackendUnavailable(RuntimeError):
    """The requested backend cannot run here; the message says why."""
