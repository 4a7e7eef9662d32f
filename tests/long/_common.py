"""Output of the long runs: progress while they run, `N passed, N failed` at the end, the status says the same."""

import os
import sys
import time
import traceback

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), ".."))


def run_all(cases):
    """cases: (name, function(report)). A function that returns passed."""
    passed = failed = 0
    for name, case in cases:
        started = time.monotonic()
        print(f"{name} …", flush=True)
        try:
            case(lambda text: print("  " + text, flush=True))
            passed += 1
            print(f"{name}: passed in {time.monotonic() - started:.0f} s", flush=True)
        except Exception:
            failed += 1
            traceback.print_exc()
            print(f"{name}: FAILED after {time.monotonic() - started:.0f} s", flush=True)
    print(f"{passed} passed, {failed} failed")
    return 1 if failed else 0
