"""What a row of the table is made of: figures, each beside what it is compared with and what it must reach."""

import dataclasses
import statistics


def median(values):
    return statistics.median(values)


def ratio_of_rounds(numerators, denominators):
    """Each round's ratio, of neighbours in time, and the median of those."""
    return median([above / below for above, below in zip(numerators, denominators, strict=True)])


def spread(values):
    """How far rounds lie apart, as a share of their median: half of the distance between the quartiles."""
    if len(values) < 4 or not median(values):
        return 0.0
    low, _, high = statistics.quantiles(values, n=4)
    return (high - low) / 2 / abs(median(values))


@dataclasses.dataclass
class Goal:
    """`of`: "ratio" or "value". `least`: the figure must be at least `number`, otherwise at most."""
    of: str
    least: bool
    number: float

    def reached(self, figure):
        measured = getattr(figure, self.of)
        return measured >= self.number if self.least else measured <= self.number

    def __str__(self):
        return f"{'>=' if self.least else '<='} {self.number:g}"


def at_least(number, of="ratio"):
    return Goal(of, True, number)


def at_most(number, of="ratio"):
    return Goal(of, False, number)


@dataclasses.dataclass
class Figure:
    """One line of the table.

    key           what it is called from run to run: "insert.wal-normal.tail"
    value, unit   measured on ours (the median of `rounds`); less is better unless `more_is_better`
    beside        what it is compared with ("native"), `beside_value` in the same unit
    ratio         as the issue defines it for this row, named by `ratio_name` ("native / ours")
    noise         how far the rounds lie apart, as a share
    """
    key: str
    title: str
    unit: str
    value: float
    more_is_better: bool = False
    beside: str = ""
    beside_value: float | None = None
    ratio: float | None = None
    ratio_name: str = ""
    goal: Goal | None = None
    note: str = ""
    rounds: list = dataclasses.field(default_factory=list)
    noise: float = 0.0
    series: list = dataclasses.field(default_factory=list)  # [x, y] pairs, for slopes and distributions

    @property
    def reached(self):
        return None if self.goal is None else self.goal.reached(self)

    def as_json(self):
        fields = dataclasses.asdict(self)
        fields["goal"] = str(self.goal) if self.goal else None
        fields["goal_of"] = self.goal.of if self.goal else None
        fields["reached"] = self.reached
        return fields


def compared(key, title, unit, ours, theirs, *, beside="native", times=True, ours_over_theirs=None, goal=None, **more):
    """A figure of rounds that were measured in turns. `times`: less is better, as of times; otherwise more, as of
    rates. The ratio is native / ours for times and ours / native for rates, so that more is better, unless
    `ours_over_theirs` says otherwise."""
    over = not times if ours_over_theirs is None else ours_over_theirs
    ratio = ratio_of_rounds(ours, theirs) if over else ratio_of_rounds(theirs, ours)
    name = f"ours / {beside}" if over else f"{beside} / ours"
    return Figure(key, title, unit, median(ours), more_is_better=not times, beside=beside,
                  beside_value=median(theirs), ratio=ratio, ratio_name=name, goal=goal, rounds=[*map(list, zip(theirs, ours))],
                  noise=spread([o / t for o, t in zip(ours, theirs)]), **more)


def measured(key, title, unit, rounds, *, goal=None, **more):
    """A figure by itself."""
    rounds = list(rounds)
    return Figure(key, title, unit, median(rounds), goal=goal, rounds=rounds, noise=spread(rounds), **more)
