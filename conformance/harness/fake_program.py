#!/usr/bin/env python3
"""Stands in for a program made with kselftest_harness.h. What each test does is told by the
environment: FAKE_TESTS="fixture.one=pass fixture.two=hang"."""

import os
import subprocess
import sys
import time

FAILING = ("fail", "panic")
TESTS = dict(word.split("=") for word in os.environ["FAKE_TESTS"].split())


def run(number: int, name: str, behaviour: str) -> bool:
    print(f"#  RUN           {name} ...", flush=True)
    if behaviour == "fail":
        print("# fake.c:7:two:Expected 0 (0) == rc (-1)", file=sys.stderr, flush=True)
    elif behaviour == "panic":
        print("# src/fake.rs:7: left is not right", flush=True)
    elif behaviour == "crash":
        os.abort()
    elif behaviour == "hang":
        time.sleep(60)
    elif behaviour == "orphan":
        subprocess.Popen(["sleep", "60"], start_new_session=True)
    if behaviour != "mute":
        verdict = "not ok" if behaviour in FAILING else "ok"
        directive = " # SKIP not here" if behaviour == "skip" else ""
        print(f"{verdict} {number} {name}{directive}", flush=True)
    return behaviour not in FAILING


def main() -> int:
    if sys.argv[1:] == ["-l"]:
        for name in TESTS:
            fixture, test = name.split(".")
            print(f"{fixture:20} {'':25} {test}\n{'-' * 80}", file=sys.stderr)
        return 4
    only = [word.removeprefix("-r") for word in sys.argv[1:]]
    chosen = {name: TESTS[name] for name in only} or TESTS
    passed = [run(number, *test) for number, test in enumerate(chosen.items(), start=1)]
    return int(os.environ.get("FAKE_STATUS", not all(passed)))


if __name__ == "__main__":
    sys.exit(main())
