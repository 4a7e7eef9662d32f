#!/usr/bin/env python3
"""Counts test results: `tally.py automake BUILD_DIR` or `tally.py junit FILE`.

Prints "N passed, N failed, N skipped"; to standard error, the names of what failed and the ends of the logs. Exit status 1 when something failed or
nothing ran. A cmocka program counts each of its tests; any other program of `make check` counts as one.
"""
import re
import sys
import xml.etree.ElementTree as ElementTree
from pathlib import Path


def automake_result(trs):
    """(passed, failed names, skipped) of one test program."""
    name = trs.with_suffix("").as_posix()
    result = re.search(r"^:global-test-result: *(\w+)", trs.read_text(), re.M)
    result = result.group(1) if result else "ERROR"
    log = trs.with_suffix(".log")
    text = log.read_text(errors="replace") if log.is_file() else ""
    passed = len(re.findall(r"^\[       OK \] ", text, re.M))
    failed = sorted(set(re.findall(r"^\[  FAILED  \] (?!\d+ test\(s\))(.+)", text, re.M)))
    skipped = len(set(re.findall(r"^\[  SKIPPED \] (?!\d+ test\(s\))(.+)", text, re.M)))
    if result == "SKIP":
        return 0, [], 1
    if result == "PASS":
        return (passed or 1), [], skipped
    print(f"---- the end of {log}\n" + "\n".join(text.splitlines()[-60:]), file=sys.stderr)
    # A crash leaves no FAILED line of its own.
    return passed, [f"{name}: {test}" for test in failed] or [f"{name}: {result}"], skipped


def automake(build):
    return [automake_result(trs) for trs in sorted(Path(build).rglob("*.trs"))]


def junit_case(case):
    name = f"{case.get('classname')}::{case.get('name')}"
    if case.find("failure") is not None or case.find("error") is not None:
        return 0, [name], 0
    return (0, [], 1) if case.find("skipped") is not None else (1, [], 0)


def junit(path):
    return [junit_case(case) for case in ElementTree.parse(path).getroot().iter("testcase")]


def main():
    try:
        results = {"automake": automake, "junit": junit}[sys.argv[1]](sys.argv[2])
    except (OSError, ElementTree.ParseError) as error:
        results = [(0, [f"no results: {error}"], 0)]
    failed = [name for _, names, _ in results for name in names]
    passed = sum(count for count, _, _ in results)
    for name in failed:
        print(f"FAILED: {name}", file=sys.stderr)
    print(f"{passed} passed, {len(failed)} failed, {sum(count for _, _, count in results)} skipped")
    return 1 if failed or passed == 0 else 0


if __name__ == "__main__":
    sys.exit(main())
