"""The rows of the table, in the order in which they are measured: name -> module with `run(bench)`, which yields
figures, and a docstring whose first line says what it measures."""

import importlib

NAMES = ["reads", "readers", "replica_reads", "requests", "inserts", "updates", "writers", "visible", "follow",
         "catch_up", "large_transaction", "snapshot", "restart", "many", "growth"]


def find(name):
    return importlib.import_module(f"rows.{name}")
