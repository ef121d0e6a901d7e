"""A time limit that does not count while the machine stands still.

A virtual machine that is paused, moved or copied comes back to clocks that are a minute on: whoever compares
them with a deadline then takes what had no time to happen for a hang. So a limit is looked at often, and
what passed between two looks counts as `LONGEST` at most.
"""

import time


class Allowance:
    LONGEST = 5.0  # seconds between two looks that are believed

    def __init__(self, seconds, now=time.monotonic):
        self.left = seconds
        self.stood_still = 0.0
        self._now = now
        self._looked = now()

    def used_up(self):
        now = self._now()
        passed, self._looked = now - self._looked, now
        self.left -= min(passed, self.LONGEST)
        self.stood_still += max(0.0, passed - self.LONGEST)
        return self.left <= 0
