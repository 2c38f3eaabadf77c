"""The command line: finds the verb, loads what it needs and nothing else, and turns errors into exit codes."""

import atexit
import gc
import os
import sys
from collections.abc import Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, NoReturn

from worker.cli.signals import Termination
from worker.errors import ExitCode, TidegateError, first_of

if TYPE_CHECKING:
    from worker.cli.arguments import Flags


_ALLOCATIONS = 100_000
"""A short command ends before it has made so much; looking for garbage on the way costs it a twentieth of its time."""

_USUAL = gc.get_threshold()


def command() -> int:
    """Be the command: `main` in a process of its own, which ends with it; it returns where not all could be written."""
    gc.set_threshold(_ALLOCATIONS)
    _have_streams()
    code = main()
    with suppress(OSError):
        _end(code)
    return code


def _have_streams() -> None:
    """Have the three standard streams, so that what opens next does not get the number of one that was closed."""
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.devnull, mode, errors="backslashreplace"))  # noqa: PTH123, SIM115  it stays open as long as the process


def _end(code: int) -> NoReturn:
    """End the process at once: Python would take its modules apart one by one, which takes ten milliseconds."""
    # Every connection is closed by now, and asyncio has waited for its threads.
    atexit._run_exitfuncs()  # noqa: SLF001  what others want done at the end has no other way in
    for stream in (sys.stdout, sys.stderr):
        stream.flush()
    os._exit(code)


def stay() -> None:
    """Say that this process lives for long: from here on it looks for garbage as often as Python does by itself."""
    gc.set_threshold(*_USUAL)


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit code."""
    with Termination() as termination:
        try:
            return _run(list(sys.argv[1:] if argv is None else argv))
        except KeyboardInterrupt:
            return termination.exit_code


def _run(argv: list[str]) -> int:
    from worker.cli.arguments import parse  # noqa: PLC0415  argparse is not needed to import the package

    if "_ARGCOMPLETE" in os.environ:
        from worker.cli.completion import answer  # noqa: PLC0415  only where a shell asks

        answer()
    flags = None
    try:
        verb, flags = parse(argv)
        return int(verb.run(flags))
    except TidegateError as error:
        return _told(error, flags)
    except ExceptionGroup as group:
        return _several(group, flags)
    except BrokenPipeError:
        return ExitCode.OK
    except Exception as error:  # noqa: BLE001  whatever escapes is a fault of the program, and is said to be one
        return _broken(error, flags)


def _told(error: TidegateError, flags: "Flags | None") -> int:
    from worker.cli.app import masking  # noqa: PLC0415  only where there is something to print
    from worker.cli.output import print_error  # noqa: PLC0415  the same

    print_error(error, str if flags is None else masking(flags))
    return int(error.exit_code)


def _several(group: ExceptionGroup[Exception], flags: "Flags | None") -> int:
    """Tell the first of the errors that tasks ended with, unless one of them is a fault of the program."""
    error = first_of(group)
    return _told(error, flags) if isinstance(error, TidegateError) else _broken(group, flags)


def _broken(error: Exception, flags: "Flags | None") -> int:
    from worker.cli.app import masking  # noqa: PLC0415  only where there is something to print
    from worker.cli.output import print_fault  # noqa: PLC0415  the same

    print_fault(error, str if flags is None else masking(flags))
    return int(ExitCode.INTERNAL)
