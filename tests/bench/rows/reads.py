"""Point SELECT and full scan of a cached database, autocommit, one connection: native, primary, replica."""

import others
from bench import Row
from figures import at_least, compared

ROWS = 100_000


def run(bench):
    with Row(bench, "reads") as row:
        primary, replica = row.pair()
        places = {"native": row.native, "primary": primary.mountpoint, "replica": replica.mountpoint,
                  **others.litefs_pair(row)}
        for mode in ("WAL", "DELETE"):
            for name, place in places.items():
                if not name.endswith("replica"):
                    row.fill(place / f"{mode}.db", mode, ROWS)
            primary_position = primary.position(f"{mode}.db")
            replica.wait_for_position(f"{mode}.db", primary_position, 60)
            others.wait_for_file(places, f"{mode}.db")
        yield from measure(row, places, "select", "WAL", bench.size((15, 20_000), (7, 4_000)), 0.95)
        yield from measure(row, places, "scan", "WAL", bench.size((15, 10), (7, 3)), 0.95)
        yield from measure(row, places, "select", "DELETE", bench.size((15, 10_000), (7, 2_000)), 0.85)


def measure(row, places, load, mode, size, least):
    names = {"select": "point SELECT", "scan": "full scan"}
    rounds = row.compare(load, *size, {name: place / f"{mode}.db" for name, place in places.items()})
    for place in places:
        if place != "native":
            goal = at_least(least) if place in ("primary", "replica") else None
            yield compared(f"{load}.{mode.lower()}.{place}", f"{names[load]}, {mode}, {place}", "us",
                           rounds[place], rounds["native"], goal=goal)
