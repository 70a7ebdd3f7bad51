"""The program ``skmm``: runs a command, tells of what went wrong in one sentence, sets the code."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Sequence

from skmm.numerics.extras import extra
from skmm_cli.errors import BROKEN, FAILED, INTERRUPTED, CommandError, one_sentence


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs one command line; returns its exit code.

    Args:
        arguments: The words after ``skmm``; unless given, those of the process.
    """
    arguments = sys.argv[1:] if arguments is None else list(arguments)
    try:
        with extra("cli", needed_by="the command line"):
            import cyclopts  # noqa: F401

        from skmm_cli.app import run

        code = run(arguments)
        sys.stdout.flush()
        return code
    except CommandError as error:
        return _fail(one_sentence(error), error.code)
    except (ValueError, ImportError) as error:  # the library's, which say what to do
        return _fail(one_sentence(error), FAILED)
    except KeyboardInterrupt:
        return _fail("stopped; nothing was written", INTERRUPTED)
    except BrokenPipeError:  # whoever read has read enough
        _drop_output()
        return FAILED
    except OSError as error:
        _drop_output()
        return _fail(error.strerror or one_sentence(error), FAILED)
    except MemoryError:
        return _fail("out of memory; try a smaller sketch, -m 64, or fewer rows", FAILED)
    except Exception as error:
        if "SKMM_DEBUG" in os.environ:
            raise
        what = f"{type(error).__name__}: {one_sentence(error)}"
        return _fail(f"a mistake of this program, {what}; SKMM_DEBUG=1 shows where", BROKEN)


def _fail(sentence: str, code: int) -> int:
    print(f"skmm: {sentence}", file=sys.stderr)
    return code


def _drop_output() -> None:
    """Lets the interpreter end in peace where nobody takes what it has left to say."""
    try:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    except (OSError, ValueError):  # not a file, as under test
        return


def _stop(number: int, frame: object) -> None:
    raise KeyboardInterrupt


def program() -> None:
    """The console script: `main`, with a request to end answered as the user's own."""
    signal.signal(signal.SIGTERM, _stop)
    sys.exit(main())


if __name__ == "__main__":
    program()
