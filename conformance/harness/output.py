"""What a process prints, line by line, with a limit on how long to wait for a line."""

import os
import selectors
import subprocess
import time
from collections import deque
from typing import BinaryIO


class Output:
    """The merged standard output and error of `process`, copied to `log` as they come."""

    def __init__(self, process: subprocess.Popen, log: BinaryIO):
        self.process = process
        self.log = log
        self.lines: deque[bytes] = deque()
        self.partial = b""
        self.selector = selectors.DefaultSelector()
        self.selector.register(process.stdout, selectors.EVENT_READ)

    def next(self, until: float) -> str | None:
        """The next line, or None when the process has ended and left no more. Does not wait for
        descendants that keep the pipe open. Raises TimeoutError when time.monotonic() reaches
        `until`."""
        while not self.lines:
            if time.monotonic() >= until:
                raise TimeoutError
            ended = self.process.poll() is not None
            if self.selector.select(timeout=0 if ended else 0.1):
                chunk = os.read(self.process.stdout.fileno(), 65536)
                self.log.write(chunk)
                *complete, self.partial = (self.partial + chunk).split(b"\n")
                self.lines.extend(complete)
                if not chunk:
                    # The pipe is closed; what it held and did not end with a newline is no line.
                    self.selector.unregister(self.process.stdout)
            elif ended:
                return None
        return self.lines.popleft().decode(errors="replace")
