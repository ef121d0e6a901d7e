"""One SQLite connection, driven through pipes: a JSON list of statements in, rows or the error out.

Its first line says that it is connected.

    application.py DATABASE BUSY_TIMEOUT_SECONDS

DATABASE is a path, or a URI that begins with file:
A statement is a string, or a list of the string and its parameters.
"""

import json
import sqlite3
import sys

connection = sqlite3.connect(sys.argv[1], timeout=float(sys.argv[2]), isolation_level=None,
                             uri=True)
print("connected", flush=True)  # SQLite has read the header by now: the test may take the file away
for line in sys.stdin:
    try:
        rows = []
        for statement in json.loads(line):
            words = [statement] if isinstance(statement, str) else statement
            rows = connection.execute(*words).fetchall()
        answer = {"rows": [[v.hex() if isinstance(v, bytes) else v for v in row] for row in rows]}
    except sqlite3.Error as error:
        answer = {"error": getattr(error, "sqlite_errorname", "SQLITE_ERROR"), "message": str(error)}
    print(json.dumps(answer), flush=True)
connection.close()
