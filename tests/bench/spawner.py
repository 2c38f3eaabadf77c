"""Starts one program when told to, and says what it used: `spawner.py GO TOLD WITHOUT PROGRAM ARGUMENT…`.

GO and TOLD are descriptors, and WITHOUT is a variable that the program is not given.

What the system says of a process's memory includes the most that its parent had until the program began. So this one is
small: it is run by `python -I -S`, imports next to nothing, and is ready before the time begins.
"""

import os
import sys
import time

_SIGPIPE, _SIGXFSZ = 13, 25


def main() -> None:
    """One byte on TOLD when ready; one byte on GO; one line on TOLD: exit code, seconds, CPU seconds, peak KiB."""
    go, told, without, command = int(sys.argv[1]), int(sys.argv[2]), sys.argv[3], sys.argv[4:]
    os.environ.pop(without, None)
    for own in (go, told):
        os.set_inheritable(own, False)  # noqa: FBT003  the function takes nothing else
    os.write(told, b".")
    if not os.read(go, 1):
        return
    began = time.perf_counter()
    # Python ignores both for itself, and a program begins with what its parent ignores; the module costs 0.8 MiB.
    process = os.posix_spawnp(command[0], command, os.environ, setsigdef=(_SIGPIPE, _SIGXFSZ))
    _, status, usage = os.wait4(process, 0)
    wall = time.perf_counter() - began
    said = (os.waitstatus_to_exitcode(status), wall, usage.ru_utime + usage.ru_stime, usage.ru_maxrss)
    os.write(told, " ".join(map(str, said)).encode())


main()
