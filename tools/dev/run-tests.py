#!/usr/bin/env python3
"""Runs every test of the project and prints one total.

Stages: ctest (units and conformance suites), lit (IR and tools), end-to-end tests in Python,
fuzz targets for half a minute each, style checks. Each writes a JUnit file below
BUILD/test-results, from which the totals are taken; a stage that dies before it can write one
counts as one failure. The last line printed is "N passed, M failed".
"""
import argparse
import os
import pathlib
import subprocess
import sys
import time
import xml.etree.ElementTree as ET

ROOT = pathlib.Path(__file__).resolve().parents[2]
LIT = "/usr/lib/llvm-19/build/utils/lit/lit.py"


def read_junit(path):
    """Returns (passed, names of failed tests)."""
    passed, failed = 0, []
    for case in ET.parse(path).getroot().iter("testcase"):
        # ctest marks tests that could not run by an attribute, everyone else by a child element.
        bad = any(case.find(tag) is not None for tag in ("failure", "error", "skipped"))
        if bad or case.get("status") in ("fail", "notrun", "disabled"):
            failed.append(f"{case.get('classname') or ''} {case.get('name')}".strip())
        else:
            passed += 1
    return passed, failed


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--build", default="build", help="build folder (default: build)")
    parser.add_argument("--jobs", type=int, default=2, help="tests at once (default: 2)")
    parser.add_argument("--only", action="append", help="run only this stage; may be repeated")
    args = parser.parse_args()
    build = (ROOT / args.build).resolve()
    results = build / "test-results"
    results.mkdir(parents=True, exist_ok=True)
    jobs = str(args.jobs)
    stages = {
        "ctest": ["ctest", "--test-dir", str(build), "-j", jobs, "--output-on-failure",
                  "--timeout", "600", "--output-junit", str(results / "ctest.xml")],
        "lit": [sys.executable, LIT, "-j", jobs, "-sv", "--xunit-xml-output",
                str(results / "lit.xml"), str(build / "test")],
        "e2e": [sys.executable, "-m", "pytest", "-q", "-ra", "-p",
                "no:cacheprovider", "-n", jobs, "--dist", "loadfile",
                f"--junit-xml={results / 'e2e.xml'}", str(ROOT / "test/e2e")],
        "fuzz": [sys.executable, "-m", "pytest", "-q", "-ra", "-p", "no:cacheprovider",
                 f"--junit-xml={results / 'fuzz.xml'}", str(ROOT / "test/fuzz")],
        "style": [sys.executable, "-m", "pytest", "-q", "-ra", "-p", "no:cacheprovider",
                  f"--junit-xml={results / 'style.xml'}", str(ROOT / "test/style")],
    }
    if args.only:
        unknown = set(args.only) - set(stages)
        if unknown:
            parser.error(f"unknown stage {sorted(unknown)[0]}; there are {', '.join(stages)}")
        stages = {name: stages[name] for name in stages if name in args.only}

    environment = dict(os.environ, TACQ_BUILD=str(build), TACQ_JOBS=jobs)
    total_passed, total_failed = 0, []
    lines = []
    for name, command in stages.items():
        junit = results / f"{name}.xml"
        junit.unlink(missing_ok=True)
        print(f"==== {name}", flush=True)
        start = time.monotonic()
        status = subprocess.run(command, cwd=ROOT, env=environment).returncode
        seconds = time.monotonic() - start
        passed, failed = read_junit(junit) if junit.exists() else (0, [f"{name} wrote no results"])
        if status != 0 and not failed:
            failed = [f"{name} ended with status {status}"]
        if status == 0 and not passed and not failed:
            failed = [f"{name} found no tests"]
        total_passed += passed
        total_failed += [f"{name}: {test}" for test in failed]
        lines.append(f"{name:6} {passed} passed, {len(failed)} failed in {seconds:.0f} s")
    print("====")
    for test in total_failed:
        print(f"FAILED {test}")
    print("\n".join(lines))
    print(f"{total_passed} passed, {len(total_failed)} failed")
    return 1 if total_failed else 0


if __name__ == "__main__":
    sys.exit(main())
