"""What goes wrong for a user: one sentence, and the exit code that goes with it."""

from __future__ import annotations

FAILED, MISUSED, BROKEN, INTERRUPTED = 1, 2, 70, 130
"""Exit codes: what was asked for cannot be done; it was asked for in a way that has no meaning;
a mistake of this program; the user stopped it."""


class CommandError(Exception):
    """What was asked for cannot be done, for the reason that the message gives."""

    code = FAILED


class UsageError(CommandError):
    """The command line has no meaning, whatever the files hold."""

    code = MISUSED


def one_sentence(error: BaseException) -> str:
    """Returns what an error says on one line, without the full stop."""
    text = " ".join(str(error).split()) or type(error).__name__
    return text if text.endswith("..") else text.removesuffix(".")


def reason(error: BaseException) -> str:
    """Returns why a file could not be read or written; the operating system's words if it knows."""
    strerror = getattr(error, "strerror", None)
    if strerror and isinstance(error, OSError):
        return strerror
    if isinstance(error, MemoryError):
        return "it does not fit into memory"
    text = one_sentence(error)
    return text if len(text) <= 240 else f"{text[:240]} ..."
