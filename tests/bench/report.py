"""Turns what run.sh has measured (one JSON file a measurement) into a table and one file.

    report.py RAW_DIRECTORY [OUT_DIRECTORY]
"""

import datetime
import json
import os
import platform
import statistics
import sys


def machine():
    model = "unknown processor"
    with open("/proc/cpuinfo") as cpuinfo:
        for line in cpuinfo:
            if line.startswith("model name"):
                model = line.split(":", 1)[1].strip()
                break
    return {
        "processor": model,
        "cores": os.cpu_count(),
        "memory_mib": os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") >> 20,
        "kernel": platform.release(),
        "date": datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds"),
        "load_average": os.getloadavg(),
    }


COMPARISONS = [
    ("select-wal", "point SELECT, WAL"),
    ("scan-wal", "full scan, WAL"),
    ("select-delete", "point SELECT, DELETE"),
    ("insert-wal-normal", "INSERT, WAL, NORMAL"),
    ("insert-wal-full", "INSERT, WAL, FULL"),
    ("insert-delete-full", "INSERT, DELETE, FULL"),
]


def comparison_rows(raw):
    for key, title in COMPARISONS:
        if key not in raw:
            continue
        places = raw[key]["places"]
        for place in ("passthrough", "primary", "replica"):
            if place not in places:
                continue
            ratio = places[place]["of_first"]
            through = ""
            if place == "primary" and "passthrough" in places:
                pairs = zip(places["passthrough"]["rounds_us"], places[place]["rounds_us"])
                through = f"{statistics.median(other / here for other, here in pairs):.2f}"
            yield (f"{title}, {place}", f"{places['native']['us']:.1f} us", f"{places[place]['us']:.1f} us",
                   f"{ratio:.2f}", through)


def other_rows(raw):
    for node, name in (("p", "primary"), ("r", "replica")):
        if count := raw.get(f"requests-select-{node}"):
            yield (f"requests to the daemon, {count['operations']} point SELECTs, {name}", "",
                   str(count["requests"]), "")
    for mode in ("WAL", "DELETE"):
        if count := raw.get(f"requests-insert-{mode}"):
            kinds = ", ".join(f"{kind} {n / count['operations']:.2f}" for kind, n in count["kinds"].items())
            yield (f"requests per commit, {mode}", "", f"{count['per_operation']:.2f} ({kinds})", "")
    for hold, name in (("0", ""), ("1", ", reader open")):
        if seen := raw.get(f"visible-{hold}"):
            yield (f"commit to visible at {seen['rate']:.0f} tx/s{name}", "",
                   f"p50 {seen['p50_ms']:.2f} ms, p99 {seen['p99_ms']:.2f} ms", "")
    for kind, name in (("clean", "after a clean stop"), ("killed", "after kill -9")):
        if start := raw.get(f"start-{kind}"):
            size = raw.get("start-size", {}).get("bytes", 0) >> 20
            yield (f"cold start, {size} MiB, {name}", "", f"{start['first_row_ms']:.0f} ms", "")


def main():
    raw = {}
    for name in sorted(os.listdir(sys.argv[1])):
        with open(os.path.join(sys.argv[1], name)) as file:
            raw[name.removesuffix(".json")] = json.load(file)
    about = machine()
    lines = [
        f"{about['processor']}, {about['cores']} cores, {about['memory_mib']} MiB, Linux {about['kernel']}, "
        f"{about['date']}, load average at the end {about['load_average'][0]:.1f}. Medians of rounds in turns; "
        "a ratio is the median over the rounds of the other place's time / the time here: 1 is as fast, more is "
        "faster.",
        "",
        "| | native | here | native / here | pass-through / here |",
        "| --- | ---: | ---: | ---: | ---: |",
    ]
    for row in [*comparison_rows(raw), *other_rows(raw)]:
        lines.append("| " + " | ".join((*row, *[""] * (5 - len(row)))) + " |")
    table = "\n".join(lines)
    print(table)
    if len(sys.argv) > 2:
        os.makedirs(sys.argv[2], exist_ok=True)
        with open(os.path.join(sys.argv[2], "results.json"), "w") as file:
            json.dump({"machine": about, "measurements": raw}, file, indent=1)
        with open(os.path.join(sys.argv[2], "results.md"), "w") as file:
            file.write(table + "\n")


if __name__ == "__main__":
    main()
