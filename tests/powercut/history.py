"""What the applications of a power-cut run write, so that afterwards every state can be told from a wrong one.

A database has transactions 0, 1, 2, ...; what transaction n does depends on the seed, the name and n alone.
So the rows of a database say after which transaction it stands, and whether that transaction, and every one
before it, is there whole.
"""

import random

#: Copied over, again and again, as a plain file: nothing is promised but that both nodes agree about it.
COPIED = "copied.db"
ACCOUNTS = 20
START = 1000

SETUP = [
    "CREATE TABLE left_side(id INTEGER PRIMARY KEY, amount INTEGER)",
    "CREATE TABLE t(id INTEGER PRIMARY KEY, at INTEGER, v BLOB)",
    "CREATE INDEX t_at ON t(at)",
    "CREATE TABLE right_side(id INTEGER PRIMARY KEY, amount INTEGER)",
    *[f"INSERT INTO {side} VALUES({i}, {START})" for side in ("left_side", "right_side") for i in range(ACCOUNTS)],
]


def blob(row, at, size):
    return random.Random(f"{row} {at}").randbytes(size)


def draw(seed, name, n):
    """(kind, size, from, to, amount) of transaction n. `spill` rewrites more than SQLite's cache holds."""
    dice = random.Random(f"{seed} {name} {n}")
    kind = dice.choices(["row", "spill", "forget"], [90, 6, 4])[0]
    size = dice.choices([20, 300, 5000, 20000], [30, 50, 15, 5])[0]
    return kind, size, dice.randrange(ACCOUNTS), dice.randrange(ACCOUNTS), dice.randrange(1, 100)


def statements(seed, name, n):
    kind, size, source, target, amount = draw(seed, name, n)
    yield "UPDATE left_side SET amount = amount - ? WHERE id = ?", (amount, source)
    yield "INSERT INTO t VALUES(?, ?, blob(?, ?, ?))", (n, n, n, n, size)
    if kind == "spill":
        yield "UPDATE t SET at = ?, v = blob(id, ?, length(v))", (n, n)
    if kind == "forget":
        yield "UPDATE t SET v = x'' WHERE id < ?", (n - 20,)
    yield "UPDATE right_side SET amount = amount + ? WHERE id = ?", (amount, target)


def expected_accounts(seed, name, n):
    left, right = [START] * ACCOUNTS, [START] * ACCOUNTS
    for i in range(1, n + 1):
        _, _, source, target, amount = draw(seed, name, i)
        left[source] -= amount
        right[target] += amount
    return left, right


def last_rewrite(seed, name, n):
    """For each row of t after transaction n, the transaction that wrote it last."""
    at = {}
    for i in range(1, n + 1):
        at[i] = i
        if draw(seed, name, i)[0] == "spill":
            at = dict.fromkeys(at, i)
    return sorted(at.items())


def look(connection, seed, name):
    """The transaction after which the database stands (-1: before 0). Raises Corrupt."""
    found = connection.execute("PRAGMA integrity_check").fetchall()
    if found != [("ok",)]:
        raise Corrupt(f"{name}: integrity_check says {found[:3]}")
    if connection.execute("SELECT count(*) FROM sqlite_master").fetchone()[0] == 0:
        return -1
    rows = connection.execute("SELECT id, at FROM t ORDER BY id").fetchall()
    n = len(rows)
    if rows != last_rewrite(seed, name, n):
        raise Corrupt(f"{name}: the rows of t are no state of its history: {n} rows, the last {rows[-3:]}")
    sides = tuple([amount for (amount,) in connection.execute(f"SELECT amount FROM {side} ORDER BY id")]
                  for side in ("left_side", "right_side"))
    if sum(sides[0]) + sum(sides[1]) != 2 * ACCOUNTS * START:
        raise Corrupt(f"{name}: a transaction is half there: the sum is {sum(sides[0]) + sum(sides[1])}")
    if sides != expected_accounts(seed, name, n):
        raise Corrupt(f"{name}: the accounts are not those after transaction {n}")
    wrong = connection.execute("SELECT id FROM t WHERE v IS NOT blob(id, at, length(v))").fetchall()
    if wrong:
        raise Corrupt(f"{name}: rows with another content: {wrong[:5]}")
    return n


class Corrupt(Exception):
    pass
