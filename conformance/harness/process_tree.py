"""Processes that cannot get away: whatever this process starts, directly or not, can be ended."""

import ctypes
import os
import signal
import time
from pathlib import Path

PR_SET_PDEATHSIG = 1
PR_SET_CHILD_SUBREAPER = 36


class Stopped(Exception):
    """This process was told to stop; everything it changed is to be put back."""


def adopt_orphans() -> None:
    """Makes this process the parent of every descendant that loses its own, and makes a signal,
    or the end of the process that started this one, raise `Stopped`."""
    libc = ctypes.CDLL(None, use_errno=True)
    for option, value in (
        (PR_SET_CHILD_SUBREAPER, 1),
        (PR_SET_PDEATHSIG, signal.SIGTERM),
    ):
        if libc.prctl(option, ctypes.c_ulong(value), 0, 0, 0) != 0:
            raise OSError(ctypes.get_errno(), "prctl")
    stops = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)

    def stop(number, _frame):
        for other in stops:
            signal.signal(other, signal.SIG_IGN)
        raise Stopped(signal.Signals(number).name)

    for number in stops:
        signal.signal(number, stop)


def end_all(grace: float, limit: float = 10.0) -> list[str]:
    """Waits up to `grace` seconds for all children to end by themselves, then kills them and the
    orphans that come after them. Returns the names of the processes that had to be killed."""
    started = time.monotonic()
    killed: dict[int, str] = {}
    while True:
        reap()
        children = {pid: name for pid, name, state in children_of(os.getpid()) if state != "Z"}
        waited = time.monotonic() - started
        if not children:
            return list(killed.values())
        if waited > grace + limit:
            raise TimeoutError(f"cannot be killed: {', '.join(children.values())}")
        if waited >= grace:
            for pid in children.keys() - killed.keys():
                os.kill(pid, signal.SIGKILL)
            killed |= children
        time.sleep(0.01)


def reap() -> None:
    try:
        while os.waitpid(-1, os.WNOHANG) != (0, 0):
            pass
    except ChildProcessError:
        pass


def children_of(parent: int) -> list[tuple[int, str, str]]:
    """The pid, name and state of every child of the process `parent`."""
    children = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            pid, _, rest = stat.read_text().partition(" (")
        except OSError:
            continue
        name, _, fields = rest.rpartition(") ")
        state, ppid = fields.split()[:2]
        if int(ppid) == parent:
            children.append((int(pid), name, state))
    return children
