#!/usr/bin/python3
"""Measures RillFS beside the native file system and a bare pass-through FUSE file system, all in one run, in turns:
the table of docs/benchmarks/. run.sh builds what is needed and calls this."""

import argparse
import json
import os
import pathlib
import signal
import sys
import time
import traceback

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE))

ROW_SECONDS_MAX = 1500


def arguments(names):
    parser = argparse.ArgumentParser(description=__doc__, prog="run.sh",
                                     epilog="rows: " + ", ".join(names) + ". Needs root and /dev/fuse.")
    parser.add_argument("--quick", action="store_true", help="smaller sizes and fewer rounds: a few minutes")
    parser.add_argument("--only", metavar="ROW[,ROW]", type=lambda text: text.split(","), default=names,
                        help="only these rows")
    parser.add_argument("--skip", metavar="ROW[,ROW]", type=lambda text: text.split(","), default=[],
                        help="not these rows")
    parser.add_argument("--work", metavar="DIR", default=os.environ.get("TMPDIR", "/tmp"),
                        help="where the databases go: the native file system of the comparison [%(default)s]")
    parser.add_argument("--out", metavar="DIR", type=pathlib.Path, help="where the results go [docs/benchmarks of a "
                        "whole run; benchmarks in the build directory of a quick or partial one]")
    parser.add_argument("--build", metavar="DIR", type=pathlib.Path, default=HERE.parent.parent / "build")
    parser.add_argument("--litefs", metavar="PATH", help="LiteFS's program: the same rows for it")
    parser.add_argument("--litestream", metavar="PATH", help="Litestream's program: likewise")
    chosen = parser.parse_args()
    for name in [*chosen.only, *chosen.skip]:
        if name not in names:
            parser.error(f"no row {name}; there are {', '.join(names)}")
    chosen.rows = [name for name in names if name in chosen.only and name not in chosen.skip]
    return chosen


def say(text):
    print(f"bench: {text}", file=sys.stderr, flush=True)


def measure(bench, name, rows, support):
    """([figures], error or None) of one row. A row that fails does not end the run."""
    begun = time.monotonic()
    support.watch.tell(f"deadline {ROW_SECONDS_MAX} {name}")
    figures, error = [], None
    try:
        for figure in rows.find(name).run(bench):
            figures.append(figure.as_json())
            say(f"  {figure.title}: {figure.value:.4g} {figure.unit}" + (
                f", {figure.ratio_name} {figure.ratio:.3f}" if figure.ratio is not None else ""))
    except Exception as failure:
        traceback.print_exc()
        said = [line for line in str(failure).splitlines() if line.strip()] or [repr(failure)]
        error = said[-1][:300]  # (of a program that failed: what it said last)
    finally:
        support.watch.tell("done")
    say(f"{name}: {time.monotonic() - begun:.0f} s")
    return figures, error


def load(path):
    return json.loads(path.read_text()) if path.exists() else None


def keep(out, run, root):
    import plots
    import report
    kept = load(root / "docs" / "benchmarks" / "latest.json")
    out.mkdir(parents=True, exist_ok=True)
    text = report.markdown(run, kept)
    files = plots.all_of(run["figures"])
    links = "".join(f"\n![{name}]({name})\n" for name in files)
    (out / "latest.md").write_text(text + links)
    (out / "latest.json").write_text(json.dumps(run, indent=1) + "\n")
    for name, content in files.items():
        (out / name).write_text(content)
    return text


def stop(number, _):
    raise KeyboardInterrupt(signal.Signals(number).name)


def main():
    import rows
    chosen = arguments(rows.NAMES)
    os.environ.setdefault("RILLFS", str(chosen.build / "rillfs"))
    import bench as benches
    import machine
    support = benches.support
    signal.signal(signal.SIGTERM, stop)
    signal.signal(signal.SIGINT, stop)
    about, begun = machine.describe(chosen.work), time.monotonic()
    run = {"quick": chosen.quick, "machine": about, "figures": [], "failed": {}}
    bench = benches.Bench(chosen.build, chosen.work, chosen.quick, chosen.litefs, chosen.litestream)
    try:
        for name in chosen.rows:
            say(name)
            figures, error = measure(bench, name, rows, support)
            run["figures"] += figures
            if error:
                run["failed"][name] = error
    except KeyboardInterrupt as signal_name:  # what is measured is measured
        run["failed"].update({row: f"interrupted ({signal_name})" for row in chosen.rows[chosen.rows.index(name):]})
    finally:
        bench.clean_up()
        support.watch.close()
    about["minutes"] = (time.monotonic() - begun) / 60
    whole = not chosen.quick and chosen.rows == rows.NAMES and not run["failed"]
    out = chosen.out or (support.ROOT / "docs" / "benchmarks" if whole else chosen.build / "benchmarks")
    print(keep(out, run, support.ROOT))
    say(f"written to {out}")
    return 1 if run["failed"] else 0


if __name__ == "__main__":
    sys.exit(main())
