"""A run as a Markdown table and as JSON."""

import machine
import regressions


def number(value):
    if value is None:
        return ""
    if value and abs(value) < 0.995:
        return f"{value:.3f}"
    return f"{value:,.2f}" if abs(value) < 10 else f"{value:,.1f}" if abs(value) < 1000 else f"{value:,.0f}"


def line(figure):
    beside = f"{number(figure['beside_value'])} ({figure['beside']})" if figure["beside"] else ""
    ratio = f"{figure['ratio']:.2f} ({figure['ratio_name']})" if figure["ratio"] is not None else ""
    reached = {None: "", True: "yes", False: "**no**"}[figure["reached"]]
    cells = (figure["title"], f"{number(figure['value'])} {figure['unit']}", beside, ratio, figure["goal"] or "",
             reached, figure["note"])
    return "| " + " | ".join(cells) + " |"


def markdown(run, old_run):
    goals = [figure for figure in run["figures"] if figure["goal"]]
    lines = [
        "# Benchmarks" + (" (a quick run: small sizes, not to be quoted)" if run["quick"] else ""), "",
        machine.as_text(run["machine"]), "",
        f"{sum(figure['reached'] for figure in goals)} of {len(goals)} goals are reached. How to read this: "
        "[README](README.md).", "",
        "| what | here | beside | ratio | goal | reached | |", "| --- | ---: | ---: | ---: | ---: | --- | --- |",
        *map(line, run["figures"]), ""]
    for name, error in run["failed"].items():
        lines += [f"**{name} was not measured:** {error}", ""]
    return "\n".join([*lines, *changes(run, old_run)])


def changes(run, old_run):
    reason, worse = regressions.find(old_run, run)
    if reason:
        return [f"Not compared with an earlier run: {reason}.", ""]
    about = f"{old_run['machine']['commit']}, {old_run['machine']['date']}"
    if not worse:
        return [f"Nothing is slower than in the run before ({about}).", ""]
    return [f"Slower than in the run before ({about}):", "", *(f"- {text}" for text in worse), ""]
