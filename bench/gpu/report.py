"""JSON of bench/gpu_check.sh: one file for each phase, and a summary. Standard library only, for broken builds too.

report.py phase OUT NAME EXIT_CODE SECONDS LIMIT COMMAND   writes OUT/NAME.json from OUT/NAME.log (and NAME.xml)
report.py summary OUT                                      writes OUT/summary.json and prints it; 1 unless all passed
"""

from __future__ import annotations

import json
import re
import sys
import time
import xml.etree.ElementTree as ElementTree
from pathlib import Path
from typing import Any

TIMED_OUT = (124, 137)  # exit codes of `timeout`
SKIPPED = 125  # of a phase that says in its last line why it does nothing
PHASES = ("build", "tests", "memcheck", "racecheck", "bench")
REFUSED = ("Device not supported", "LibraryNotLoaded", "Failed to initialize")  # compute-sanitizer's words


def status_of(code: int, log: str) -> str:
    if code == SKIPPED:
        return "skipped"
    if code in TIMED_OUT:
        return "timed out"
    if code != 0 and any(words in log for words in REFUSED):
        return "skipped"
    return "passed" if code == 0 else "failed"


def write_phase(out: Path, name: str, code: int, seconds: float, limit: float, command: str) -> dict[str, Any]:
    log_file = out / f"{name}.log"
    log = log_file.read_text(errors="replace") if log_file.exists() else ""
    status = status_of(code, log)
    phase: dict[str, Any] = {"phase": name, "status": status, "exit_code": code, "seconds": seconds}
    phase |= {"limit": limit, "command": command, "tail": log.splitlines()[-60:]}
    if status == "skipped":
        lines = [line for line in log.splitlines() if any(words in line for words in REFUSED)] or log.splitlines()
        phase["reason"] = lines[-1] if lines else "no reason was given"
    if (out / f"{name}.xml").exists():
        phase["tests"] = tests = tests_of(out / f"{name}.xml")
        if status == "passed" and tests.get("tests") == tests.get("skipped"):  # without a GPU, say
            reasons = [entry["message"] for entry in tests["skipped_tests"]]
            phase |= {"status": "skipped", "reason": reasons[0] if reasons else "no test was chosen"}
    if found := re.search(r"ERROR SUMMARY: (\d+) error|(\d+) hazards? displayed", log):
        phase["errors"] = int(found[1] or found[2])
    (out / f"{name}.json").write_text(json.dumps(phase, indent=1) + "\n")
    return phase


def tests_of(file: Path) -> dict[str, Any]:
    """Counts and failures of a JUnit file; it is cut short where pytest was stopped."""
    try:
        suites = list(ElementTree.parse(file).getroot().iter("testsuite"))
    except ElementTree.ParseError as error:
        return {"error": f"{file.name}: {error}"}
    counts = {name: sum(int(s.get(name, 0)) for s in suites) for name in ("tests", "failures", "errors", "skipped")}
    failed, skipped = [], []
    for suite in suites:
        for case in suite.iter("testcase"):
            name = f"{case.get('classname')}::{case.get('name')}"
            for kind, found in (("failure", failed), ("error", failed), ("skipped", skipped)):
                found += [{"test": name, "message": e.get("message", "")[:400]} for e in case.iter(kind)]
    return {**counts, "failed": failed, "skipped_tests": skipped}


def write_summary(out: Path) -> dict[str, Any]:
    phases = {}
    for name in PHASES:
        file = out / f"{name}.json"
        phase = json.loads(file.read_text()) if file.exists() else {"status": "not run"}
        keep = ("status", "seconds", "exit_code", "reason", "errors")
        phases[name] = {key: phase[key] for key in keep if key in phase}
        if "tests" in phase:
            phases[name]["tests"] = {k: v for k, v in phase["tests"].items() if isinstance(v, int)}
            phases[name]["failed_tests"] = [entry["test"] for entry in phase["tests"].get("failed", [])]
    targets = out / "targets.json"
    asked = [
        {"case": row["case"], "backend": row["backend"], "quantity": quantity, **entry}
        for row in (json.loads(targets.read_text())["cases"] if targets.exists() else [])
        for quantity, entry in row.get("asked", {}).items()
    ]
    summary = {
        "finished": time.strftime("%Y-%m-%d %H:%M:%S"),
        "all_passed": all(phase["status"] == "passed" for phase in phases.values()),
        "phases": phases,
        "targets_reached": sum(entry["reached"] for entry in asked),
        "targets_missed": [entry for entry in asked if not entry["reached"]],
    }
    (out / "summary.json").write_text(json.dumps(summary, indent=1) + "\n")
    return summary


def main(arguments: list[str]) -> int:
    what, out = arguments[0], Path(arguments[1])
    if what == "phase":
        name, code, seconds, limit, command = arguments[2:7]
        phase = write_phase(out, name, int(code), float(seconds), float(limit), command)
        print(f"== {name}: {phase['status']} after {phase['seconds']:.0f} s", phase.get("reason", ""))
        return 0
    summary = write_summary(out)
    print(json.dumps(summary, indent=1))
    return 0 if summary["all_passed"] else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
