"""UPDATE of a random row, a transaction each, in a large database, WAL NORMAL, checkpoints included; and the same
without checkpoints, so that the difference says what they cost."""

import others
from bench import Row, copy_in
from figures import at_most, compared, median, measured


def run(bench):
    mib = bench.size(1024, 128)
    with Row(bench, "updates") as row:
        primaries = dict(row.primaries())
        places = {"native": row.native, **{capture: node.mountpoint for capture, node in primaries.items()},
                  **others.primaries(row)}
        paths = {name: place / "large.db" for name, place in places.items()}
        row.fill(paths["native"], "WAL", mib * 256, 3900)  # one row a page
        for name, path in paths.items():
            if name in primaries:
                copy_in(primaries[name], paths["native"], "large.db")
            elif name != "native":
                others.put(row, paths["native"], path)
        # One checkpoint is made for about 1000 transactions.
        rounds, operations = bench.size((7, 5000), (5, 3000))
        with_them = row.compare("update", rounds, operations, paths)
        without = row.compare("update-no-checkpoint", rounds, bench.size(2000, 1000), paths)
        for name in places:
            if name == "native":
                continue
            goal = at_most(2.0) if name == "tail" else None
            yield compared(f"update.{name}", f"random UPDATE in {mib} MiB, WAL NORMAL, {name}", "us", with_them[name],
                           with_them["native"], ours_over_theirs=True, goal=goal)
        for name in places:
            cost = [a - median(without[name]) for a in with_them[name]]
            yield measured(f"update.checkpoints.{name}", f"of that, checkpoints, {name}", "us", cost)
