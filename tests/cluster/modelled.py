"""A database in the mount and its model: a SQLite database outside, in which the same statements run."""

import os
import re
import shutil
import sqlite3

from support import App, wait_until

PAGE_SIZES = [512, 1024, 2048, 4096, 8192, 16384, 32768, 65536]
MODES = ["WAL", "WAL", "WAL", "DELETE", "TRUNCATE", "PERSIST"]
ROWS = "SELECT id, a, length(b), hex(substr(b, 1, 8)) FROM t ORDER BY id"


def in_database(database, statements):
    """The same statements for the table of that database."""
    return [re.sub(r"\b(INTO|UPDATE|FROM) t\b", rf"\1 {database}.t", statement) for statement in statements]


class Modelled:

    def __init__(self, model, name):
        self.name, self.model = name, model
        chance = model.chance
        self.shadow_path = model.directory / f"shadow-{chance.getrandbits(48):x}"
        self.shadow = sqlite3.connect(self.shadow_path, isolation_level=None)
        self.shadow.execute("PRAGMA synchronous=OFF")
        self.apps, self.history = [], []
        self.app().sql(f"PRAGMA page_size={chance.choice(PAGE_SIZES)}",
                       f"PRAGMA auto_vacuum={chance.choice(['NONE', 'NONE', 'FULL', 'INCREMENTAL'])}",
                       f"PRAGMA journal_mode={chance.choice(MODES)}")
        self.both(["CREATE TABLE t(id INTEGER PRIMARY KEY, a, b)", "CREATE INDEX i ON t(a)"])

    def app(self):
        """One of up to three applications that have it open."""
        chance = self.model.chance
        if not self.apps or (len(self.apps) < 3 and chance.random() < 0.1):
            path = self.path()
            if chance.random() < 0.2:
                path = f"file:{path}?psow=0"
            app = App(path, busy_timeout=20)
            app.sql(f"PRAGMA cache_size={chance.choice([5, 10, 100, 2000])}",
                    f"PRAGMA mmap_size={chance.choice([0, 0, 0, 100_000, 1 << 28])}",
                    f"PRAGMA temp_store={chance.choice(['FILE', 'MEMORY'])}",
                    f"PRAGMA synchronous={chance.choice(['OFF', 'NORMAL', 'FULL'])}",
                    f"PRAGMA wal_autocheckpoint={chance.choice([0, 5, 50, 1000])}")
            self.apps.append(app)
        return chance.choice(self.apps)

    def path(self):
        return self.model.cluster.primary.path(self.name)

    def close_apps(self, kill=False):
        for app in self.apps:
            app.kill() if kill else app.close()
        self.apps = []

    def close_cleanly(self):
        """After this the file is the whole database: no hot journal, no WAL."""
        self.app().sql("SELECT count(*) FROM t", timeout=60)
        self.close_apps()

    def note(self, what):
        self.history.append(f"{self.model.steps}: {what}")

    def both(self, statements, app=None):
        """The same statements in the mount and in the model."""
        self.note(f"{len(statements)} statements, {statements[0]} ... {statements[-1]}")
        (app or self.app()).sql(*statements, timeout=60)
        for statement in statements:
            self.shadow.execute(*([statement] if isinstance(statement, str) else statement))

    def changes(self):
        """Random statements without randomness of their own."""
        chance = self.model.chance
        statements = []
        for _ in range(chance.choice([1, 1, 2, 5, 40, 200])):
            key = chance.randrange(2000)
            # A blob that both sides compute from the same numbers.
            blob = f"CAST(printf('%.{chance.choice([1, 20, 300, 3000, 30000])}c', '{chr(97 + key % 26)}') AS BLOB)"
            statements.append(chance.choice([
                f"INSERT OR REPLACE INTO t VALUES({key}, {chance.randrange(1000)}, {blob})",
                f"INSERT OR REPLACE INTO t VALUES({key}, {chance.randrange(1000)}, {blob})",
                f"UPDATE t SET a = a + 1 WHERE id BETWEEN {key} AND {key + chance.randrange(300)}",
                f"UPDATE t SET b = {blob} WHERE id = {key}",
                f"DELETE FROM t WHERE id BETWEEN {key} AND {key + chance.randrange(60)}"]))
        return statements

    def transaction(self):
        chance = self.model.chance
        statements = [chance.choice(["BEGIN", "BEGIN IMMEDIATE"]), *self.changes()]
        for _ in range(chance.choice([0, 0, 1, 3])):
            statements += ["SAVEPOINT s", *self.changes(), *chance.choice([["ROLLBACK TO s"], []]), "RELEASE s"]
        self.both([*statements, chance.choice(["COMMIT"] * 4 + ["ROLLBACK"])])

    def killed_transaction(self):
        """Dies before its commit; what it has spilled is nobody's."""
        statements = ["BEGIN IMMEDIATE", *self.changes()]
        self.note(f"killed after {len(statements)} statements")
        self.app().sql(*statements, timeout=60)
        self.close_apps(kill=True)

    def kill_apps(self):
        """All at once: the next one has only the files."""
        self.note(f"{len(self.apps)} applications killed")
        self.close_apps(kill=True)

    def maintenance(self):
        """What changes no row."""
        chance = self.model.chance
        statement = chance.choice(["PRAGMA wal_checkpoint(PASSIVE)", "PRAGMA wal_checkpoint(FULL)",
                                   "PRAGMA wal_checkpoint(RESTART)", "PRAGMA wal_checkpoint(TRUNCATE)",
                                   "PRAGMA incremental_vacuum(3)", "VACUUM", "REINDEX", "mode", "size"])
        if statement in ("mode", "size"):
            self.close_apps()  # these need the database for themselves
            statement = f"PRAGMA journal_mode={chance.choice(MODES)}"
            if chance.random() < 0.3:
                self.note("another page size by VACUUM")
                self.app().sql("PRAGMA journal_mode=DELETE", f"PRAGMA page_size={chance.choice(PAGE_SIZES)}",
                               "VACUUM")
        self.note(statement)
        self.app().sql(statement, timeout=60)

    def drop_shadow(self):
        self.shadow.close()
        self.shadow_path.unlink()

    # --- several databases, and content without a transaction
    def attached(self, other):
        """One transaction over two databases."""
        chance = self.model.chance
        here, there = self.changes(), other.changes()
        ending = chance.choice(["COMMIT", "COMMIT", "COMMIT", "ROLLBACK", "killed"])
        self.note(f"attached {other.name}, {len(here)} and {len(there)} statements, {ending}")
        other.note(f"attached by {self.name}, {ending}")
        app = self.app()
        app.sql(f"ATTACH '{other.path()}' AS o", "BEGIN")
        # With their databases' names: SQLite would take a bare `t` for the other one's if this connection has not
        # looked at its own database since the table was made.
        app.sql(*in_database("main", here), *in_database("o", there), timeout=60)
        if ending == "killed":
            self.close_apps(kill=True)
            return other.close_apps(kill=True)
        app.sql(ending, "DETACH o", timeout=60)
        if ending == "COMMIT":
            for database, statements in ((self, here), (other, there)):
                for statement in statements:
                    database.shadow.execute(statement)

    def by_one_application(self):
        """What needs the database for one connection."""
        chance = self.model.chance
        self.close_cleanly()
        app = self.app()
        setting = chance.choice(["locking_mode=EXCLUSIVE", "journal_mode=MEMORY", "journal_mode=OFF"])
        app.sql(f"PRAGMA {setting}")
        for _ in range(chance.choice([1, 3, 10])):
            self.both(["BEGIN", *self.changes(), "COMMIT"], app)
        self.note(setting)
        self.close_apps()
        self.settle()

    def replaced(self):
        """Its content comes as a file."""
        chance = self.model.chance
        self.close_cleanly()
        self.shadow.execute(f"INSERT OR REPLACE INTO t VALUES(9000, {self.model.steps}, 'replaced')")
        source, target = self.model.directory / "source.db", self.path()
        source.unlink(missing_ok=True)
        self.shadow.execute(f"PRAGMA page_size={chance.choice(PAGE_SIZES)}")
        self.shadow.execute("VACUUM INTO ?", (str(source),))
        means = chance.choice(["cp", "rename", "backup"])
        self.note(f"replaced by {means}")
        target.with_name(target.name + "-journal").unlink(missing_ok=True)
        if means == "cp":
            shutil.copyfile(source, target)
        elif means == "rename":
            shutil.copyfile(source, target.with_name("arriving"))
            os.rename(target.with_name("arriving"), target)
        else:
            self.back_up(source, target)
        self.settle()

    @staticmethod
    def back_up(source, target):
        ours, theirs = sqlite3.connect(source), sqlite3.connect(target, timeout=20, isolation_level=None)
        if theirs.execute("PRAGMA journal_mode").fetchone() == ("wal",):
            theirs.execute("PRAGMA journal_mode=DELETE")  # a backup cannot change the size of a WAL database's pages
        ours.backup(theirs)
        ours.close()
        theirs.close()

    def settle(self):
        """Until what came without a transaction is everywhere; or a transaction comes right after it."""
        if self.model.chance.random() < 0.5:
            return self.both([f"INSERT OR REPLACE INTO t VALUES(9001, {self.model.steps}, 'settled')"])
        self.model.finish_readers()
        expected = self.shadow.execute(ROWS).fetchall()
        wait_until(lambda: all(self.rows_of(node) == expected for node in self.model.cluster.nodes), 20,
                   f"{self.name}, written without a transaction, to be everywhere", self.model.cluster.logs)
        self.model.cluster.wait_for_replicas(self.name)

    def rows_of(self, node):
        try:
            return node.execute(self.name, ROWS) if node.path(self.name).exists() else None
        except sqlite3.Error:
            return None
