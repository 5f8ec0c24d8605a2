"""What a program is expected to report: the files conformance/NAME.expected and
conformance/NAME.unprivileged.

A line is one of the following; `#` starts a comment.

    instances COUNT     the program has this many tests
    fails TEST          the test fails for now
    skips TEST          the test skips itself, on every machine
    needs WHAT TEST     the test cannot pass on a machine that lacks WHAT
"""

from dataclasses import dataclass, field
from pathlib import Path


class Malformed(Exception):
    """A line that is not one of the above, or contradicts an earlier one."""


@dataclass
class Expectations:
    instances: int = 0
    fails: set[str] = field(default_factory=set)
    skips: set[str] = field(default_factory=set)
    needs: dict[str, set[str]] = field(default_factory=dict)

    def names(self) -> set[str]:
        return self.fails | self.skips | self.needs.keys()

    def needing(self, what: str) -> set[str]:
        return {test for test, needs in self.needs.items() if what in needs}

    def add(self, line: str) -> None:
        match line.split("#")[0].split():
            case []:
                pass
            case ["instances", count] if count.isdecimal() and not self.instances:
                self.instances = int(count)
            case ["fails", test] if test not in self.fails | self.skips:
                self.fails.add(test)
            case ["skips", test] if test not in self.fails | self.skips:
                self.skips.add(test)
            case ["needs", what, test] if what not in self.needs.get(test, set()):
                self.needs.setdefault(test, set()).add(what)
            case _:
                raise Malformed(line.strip())


def read(path_without_suffix: str) -> Expectations:
    """Reads NAME.expected and, where it exists, NAME.unprivileged."""
    expectations = Expectations()
    files = [Path(path_without_suffix + ".expected")]
    unprivileged = Path(path_without_suffix + ".unprivileged")
    if unprivileged.exists():
        files.append(unprivileged)
    for file in files:
        for number, line in enumerate(file.read_text().splitlines(), start=1):
            try:
                expectations.add(line)
            except Malformed as error:
                raise Malformed(f"{file}:{number}: {error}") from None
    return expectations
