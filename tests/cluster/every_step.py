"""An application that does everything a primary has a named step for, and says what it was told.

    every_step.py DIRECTORY MODE SAID [TRIES]

SAID gets a JSON line for each thing that is done for certain: ["rows", database, n], ["renamed", from, to],
["dropped", name], ["copied", name], and ["error", what, code, message] for each that failed. With TRIES a thing
that fails is tried so many times; without, the program ends there with exit code 3.

Each transaction n inserts one row with n into `one` and `ROWS[n]` rows (1 where there is no entry) into `two`.
"""

import json
import os
import sqlite3
import sys
import time

from allowance import Allowance

NAMES = ["main.db", "second.db", "old.db", "victim.db", "dropped.db", "copied.db"]
LARGE = 90  # a transaction larger than what is made in memory
ROWS = {LARGE: 5}
LARGE_BYTES = 1_200_000


class Application:
    def __init__(self, directory, mode, said, tries=1):
        self.directory, self.mode, self.tries = directory, mode, tries
        self.said = os.open(said, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        self.connections = {}

    def say(self, *words):
        os.write(self.said, (json.dumps(words) + "\n").encode())

    def path(self, name):
        return os.path.join(self.directory, name)

    def connection(self, name):
        if name not in self.connections:
            made = sqlite3.connect(self.path(name), timeout=5, isolation_level=None)
            self.connections[name] = made
            made.execute("PRAGMA cache_size=20")
            made.execute("PRAGMA synchronous=FULL")
            made.execute("PRAGMA wal_autocheckpoint=0")
            made.execute(f"PRAGMA journal_mode={self.mode}")
        return self.connections[name]

    def close(self, *names):
        for name in names or list(self.connections):
            made = self.connections.pop(name, None)
            if made is not None:
                made.close()

    def attempt(self, what, action, settle=None):
        for last in range(self.tries, 0, -1):
            try:
                return action()
            except (sqlite3.Error, OSError) as error:
                code = getattr(error, "sqlite_errorname", None) or type(error).__name__
                self.say("error", what, code, str(error))
                if settle:
                    settle()
                if last == 1:
                    sys.exit(3)

    def forget(self, *names):
        """After a failure: SQLite itself may want to, and a new connection is as good."""
        for name in names:
            made = self.connections.pop(name, None)
            try:
                if made is not None:
                    made.close()
            except sqlite3.Error:
                pass

    def execute(self, name, *statements):
        def run():
            for statement in statements:
                self.connection(name).execute(statement)
        self.attempt(statements[0], run, lambda: self.forget(name))

    def write(self, n, names, into):
        connection = self.connection(names[0])
        connection.execute("BEGIN IMMEDIATE")
        try:
            for schema in into:
                connection.execute(f"INSERT INTO {schema}.one VALUES(?, randomblob(300))", (n,))
                for _ in range(ROWS.get(n, 1)):
                    size = LARGE_BYTES if n == LARGE else 2000
                    connection.execute(f"INSERT INTO {schema}.two(n, filler) VALUES(?, randomblob(?))", (n, size))
            connection.execute("COMMIT")
        except sqlite3.Error:
            if connection.in_transaction:
                connection.execute("ROLLBACK")
            raise

    def has(self, name, n):
        with_rows = sqlite3.connect(self.path(name), timeout=5)
        try:
            return with_rows.execute("SELECT count(*) FROM one WHERE n = ?", (n,)).fetchone() == (1,)
        finally:
            with_rows.close()

    def transaction(self, n, *names):
        """All of them or none, if there are several."""
        def run():
            if self.tries > 1 and self.has(names[0], n):
                return  # the one that failed is there all the same
            schemas = ["main"]
            for name in names[1:]:
                self.connection(names[0]).execute("ATTACH ? AS other", (self.path(name),))
                schemas.append("other")
            self.write(n, names, schemas)
            if len(names) > 1:
                self.connection(names[0]).execute("DETACH other")
        self.attempt(f"transaction {n}", run, lambda: self.forget(names[0]))
        for name in names:
            self.say("rows", name, n)

    def create(self, name):
        self.execute(name, "CREATE TABLE IF NOT EXISTS one(n INTEGER PRIMARY KEY, filler)",
                     "CREATE TABLE IF NOT EXISTS two(id INTEGER PRIMARY KEY, n, filler)")

    def prepare(self):
        for name in NAMES:
            self.create(name)
            for n in range(1, 4):
                self.transaction(n, name)
            self.close(name)

    def rename(self, before, after):
        def run():
            if before in os.listdir(self.directory):  # also when an attempt before has failed after all was done
                os.rename(self.path(before), self.path(after))
        self.attempt(f"rename {before}", run)
        self.say("renamed", before, after)

    def drop(self, name):
        def run():
            if name in os.listdir(self.directory):
                os.unlink(self.path(name))
        self.attempt(f"drop {name}", run)
        self.say("dropped", name)

    def position(self, name):
        with open(self.path(name + "-pos")) as file:
            return file.read()

    def copy_over(self, name, source):
        """A plain copy. It is certain once it has a position of its own."""
        with open(source, "rb") as image:
            content = image.read()
        before = self.position(name)

        def run():
            with open(self.path(name), "r+b") as file:
                file.write(content)
                file.truncate()
                file.flush()
        self.attempt(f"copy {name}", run)
        allowance = Allowance(15)
        while self.position(name) == before:
            if allowance.used_up():
                self.say("error", f"copy {name}", "NONE", "was not taken over")
                sys.exit(4)
            time.sleep(0.01)
        self.say("copied", name)

    def everything(self, image):
        for n in range(10, 16):
            self.transaction(n, "main.db")
        self.transaction(LARGE, "main.db")
        self.execute("main.db", "PRAGMA wal_checkpoint(TRUNCATE)")
        for n in range(16, 19):
            self.transaction(n, "main.db")
        self.execute("main.db", "BEGIN", "DELETE FROM one", "DELETE FROM two", "ROLLBACK")
        self.create("new.db")
        self.transaction(1, "new.db")
        self.transaction(30, "main.db", "second.db")
        self.rename("old.db", "renamed.db")
        self.rename("renamed.db", "victim.db")
        self.drop("dropped.db")
        self.copy_over("copied.db", image)
        self.execute("second.db", "DELETE FROM two WHERE n = 2", "INSERT INTO two(n, filler) VALUES(2, 'small')",
                     "VACUUM")
        for n in range(19, 22):
            self.transaction(n, "main.db")
        self.close()


def main():
    directory, mode, said, image = sys.argv[1:5]
    application = Application(directory, mode, said, int(sys.argv[5]) if len(sys.argv) > 5 else 1)
    application.everything(image)


if __name__ == "__main__":
    main()
