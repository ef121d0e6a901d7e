"""What became slower since the run that was kept.

Compared are figures of the same name, by their ratio where they have one: the ratio is of one run, so most of what the
machine did then falls out of it. A change counts when it is larger than 10 % and than twice what the rounds of either
run differed among themselves."""

LEAST = 0.10


def measure_of(figure):
    """(number, whether more is better)."""
    if figure["ratio"] is None:
        return figure["value"], figure["more_is_better"]
    over_ours = figure["ratio_name"].endswith("/ ours")
    return figure["ratio"], over_ours or figure["more_is_better"]


def worsening(old, new):
    """By how much, as a share: 0.25 is a quarter worse; negative where it is better."""
    before, more_is_better = measure_of(old)
    now, _ = measure_of(new)
    if before <= 0 or now <= 0:
        return 0.0 if before == now else (1.0 if (now > before) != more_is_better else -1.0)
    return (before / now if more_is_better else now / before) - 1


def noise(old, new):
    return max(LEAST, 2 * old["noise"], 2 * new["noise"])


def find(old_run, new_run):
    """(reason why nothing can be compared or None, lines)."""
    if old_run is None:
        return "there is no run to compare with", []
    for fact in ("processor", "cores", "kernel", "filesystem"):
        if old_run["machine"].get(fact) != new_run["machine"].get(fact):
            return f"the kept run has another {fact}: {old_run['machine'].get(fact)}", []
    if old_run["quick"] != new_run["quick"]:
        return "one of the two runs was a quick one", []
    before = {figure["key"]: figure for figure in old_run["figures"]}
    lines = []
    for figure in new_run["figures"]:
        old = before.get(figure["key"])
        if old and (by := worsening(old, figure)) > noise(old, figure):
            lines.append(f"{figure['title']}: {by:.0%} worse, {measure_of(old)[0]:.3g} -> {measure_of(figure)[0]:.3g} "
                         f"({figure['ratio_name'] or figure['unit']}); threshold {noise(old, figure):.0%}")
    return None, lines
