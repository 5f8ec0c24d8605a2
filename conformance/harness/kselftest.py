#!/usr/bin/env python3
"""Runs a program made with the kernel's kselftest_harness.h, or one that reports in the same manner,
and prints one line for each test.

All tests run in one process, as in real use. If it crashes or hangs, the test that was running
has failed, and the tests after it run in a new process. The lines are those that compare.py reads.
"""

import argparse
import re
import subprocess
import sys
import time
from contextlib import ExitStack
from pathlib import Path
from typing import BinaryIO

import expectations
import huge_pages
import process_tree
from output import Output

STARTED = re.compile(r"#  RUN           (\S+) \.\.\.")
RESULT = re.compile(r"(ok|not ok) \d+ (\S+)(?: # (SKIP)?\s*(.*))?")
REASON = re.compile(r"# (\S+\.(?:[ch]|rs):\d+:.*|\S+: Test .*)")
# Seconds that processes may take to end by themselves once the program has ended.
GRACE = 2.0


def instances(listing: str) -> list[str]:
    """The names of all tests, from what the program's -l option prints: for each fixture its
    variants and, independent of them, its tests, in two columns."""
    names = []
    for block in re.split(r"^-+\n", listing, flags=re.MULTILINE):
        fixture, variants, tests = "", [], []
        for line in block.splitlines():
            match line.split():
                case ["#", *_]:
                    pass
                case [name, *variant, test] if not line[0].isspace():
                    fixture, variants, tests = name, variant, [test]
                case [variant, test]:
                    variants.append(variant)
                    tests.append(test)
                case [test] if line.startswith(" " * 47):
                    tests.append(test)
                case [variant] if line[0].isspace():
                    variants.append(variant)
        names += [
            ".".join(filter(None, (fixture, variant, test)))
            for variant in variants or [""]
            for test in tests
        ]
    return names


class Suite:
    """The tests of a program that are still to run, and how to run them."""

    def __init__(self, command: list[str], tests: list[str], options: argparse.Namespace):
        self.command = command
        self.tests = tests
        self.todo = dict.fromkeys(tests)
        self.test_limit = options.test_limit
        self.limit = options.limit
        self.deadline = time.monotonic() + self.limit

    def report(self, outcome: str, test: str, reason: str = "") -> None:
        self.todo.pop(test, None)
        show(f"{outcome} {test}: {reason}" if reason else f"{outcome} {test}")

    def run(self, log: BinaryIO) -> None:
        """Runs the tests in as few processes as possible."""
        while self.todo:
            before = len(self.todo)
            self.run_once(log)
            if time.monotonic() >= self.deadline:
                show(f"error the time limit of {self.limit:g} s is over")
                return
            if len(self.todo) == before:
                show(f"error no test could be started; see {log.name}")
                return

    def run_once(self, log: BinaryIO) -> None:
        """Runs the tests that are left in one process, until it ends or a test hangs."""
        filters = [] if len(self.todo) == len(self.tests) else [f"-r{test}" for test in self.todo]
        process = subprocess.Popen(
            self.command + filters,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
        )
        running, failures = None, False
        try:
            running, failures = self.follow(Output(process, log))
            ended = f"the process ended with status {process.returncode}"
        except Hang as hang:
            running, ended = hang.test, f"nothing happened for {hang.seconds:.0f} s"
        finally:
            process.stdout.close()
        hangs = process.returncode is None
        left = process_tree.end_all(grace=0 if hangs else GRACE)
        if running:
            self.report("failed", running, ended)
        elif self.todo or process.returncode != int(failures):
            show(f"error {ended}, but not in a test")
        if left and not hangs:
            show(f"error processes were left behind: {', '.join(left)}")

    def follow(self, output: Output) -> tuple[str | None, bool]:
        """Reports results until the process ends. Returns the test that was running then, if
        any, and whether any test failed."""
        running, reason, failures = None, "", False
        progress = time.monotonic()
        while True:
            try:
                line = output.next(until=min(progress + self.test_limit, self.deadline))
            except TimeoutError:
                raise Hang(running, time.monotonic() - progress) from None
            if line is None:
                return running, failures
            if match := STARTED.fullmatch(line):
                running, reason, progress = match[1], "", time.monotonic()
            elif match := RESULT.fullmatch(line):
                ok, test, skip, diagnostic = match.groups()
                if ok != "ok":
                    failures = True
                    self.report("failed", test, diagnostic or reason)
                elif skip:
                    self.report("skipped", test, diagnostic)
                else:
                    self.report("passed", test)
                running, progress = None, time.monotonic()
            elif match := REASON.fullmatch(line):
                reason = reason or match[1]


class Hang(Exception):
    """No test started or ended for too long."""

    def __init__(self, test: str | None, seconds: float):
        self.test = test
        self.seconds = seconds


def show(line: str) -> None:
    print(line, flush=True)


def run(command: list[str], options: argparse.Namespace) -> None:
    """Runs the program that is the last word of `command`; the words before it supervise it."""
    listing = subprocess.run([command[-1], "-l"], capture_output=True, text=True, timeout=10)
    suite = Suite(command, instances(listing.stderr), options)
    with ExitStack() as stack:
        log = stack.enter_context(open(options.log, "wb"))
        try:
            stack.enter_context(huge_pages.reserved(options.huge_pages, options.huge_page_pool))
        except huge_pages.NotEnough as lack:
            show("lacks huge-pages")
            needing = expectations.read(options.expected).needing("huge-pages")
            for test in filter(needing.__contains__, suite.tests):
                suite.report("skipped", test, str(lack))
        stack.callback(process_tree.end_all, grace=0)
        suite.run(log)


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__.partition("\n")[0], usage="%(prog)s OPTION... -- COMMAND... PROGRAM"
    )
    parser.add_argument("--expected", required=True, help="conformance/NAME, without the suffix")
    parser.add_argument("--huge-pages", type=int, default=0, help="how many of 2 MiB it needs")
    parser.add_argument("--huge-page-pool", type=Path, default=huge_pages.POOL, metavar="DIR")
    parser.add_argument("--log", required=True, help="gets everything the program prints")
    parser.add_argument("--limit", type=float, default=600, help="seconds for all tests")
    # kselftest_harness.h ends a test after 30 s. Being earlier than that replaces a supervisor
    # that hangs, instead of leaving it to the tests that follow.
    parser.add_argument("--test-limit", type=float, default=29, help="seconds for one test")
    # By hand, because the command has a `--` of its own and argparse would drop it.
    end = sys.argv.index("--") if "--" in sys.argv else len(sys.argv)
    options = parser.parse_args(sys.argv[1:end])
    command = sys.argv[end + 1 :]
    if not command:
        parser.error("no program")
    process_tree.adopt_orphans()
    try:
        run(command, options)
    except process_tree.Stopped as signal:
        show(f"error stopped by {signal}")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
