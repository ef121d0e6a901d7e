"""Plain SVG: how each figure stands to its goal, how long until a commit is visible, what grows with what."""

import html
import math

COLOURS = ["#4477aa", "#cc6633", "#228833", "#aa3377", "#666666"]
STYLE = ("<style>text{font:12px sans-serif;fill:#222}.small{font-size:11px;fill:#555}.axis{stroke:#888}"
         ".grid{stroke:#ddd}.right{text-anchor:end}.middle{text-anchor:middle}</style>")


def svg(width, height, parts):
    return (f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" '
            f'viewBox="0 0 {width} {height}">{STYLE}<rect width="100%" height="100%" fill="white"/>'
            + "\n".join(parts) + "</svg>\n")


def text(x, y, words, kind=""):
    return f'<text x="{x:.1f}" y="{y:.1f}" class="{kind}">{html.escape(str(words))}</text>'


def line(x1, y1, x2, y2, kind="axis"):
    return f'<line x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}" class="{kind}"/>'


def short(value):
    return f"{value:,.3g}" if abs(value) < 1000 else f"{value:,.0f}"


# --- goals

def standing(figure):
    """How many times better than the goal: 1 is just reached."""
    words = figure["goal"].split()
    measured, wanted = figure[figure["goal_of"]], float(words[1])
    if words[0] == "<=":
        measured, wanted = wanted, measured
    if wanted == 0:
        return 1.0 if measured == 0 else 10.0
    return min(max(measured / wanted, 0.1), 10.0)


def goals(figures):
    """A bar for each figure with a goal, on a logarithmic axis; the line in the middle is the goal."""
    shown = [figure for figure in figures if figure["goal"]]
    left, width, step = 430, 420, 20
    x = lambda times: left + width * (math.log10(times) + 1) / 2  # noqa: E731
    bottom = 60 + step * len(shown)
    parts = [text(10, 20, "Against the goals: right of the line is better than the goal; logarithmic, cut at 10 times")]
    for times in (0.1, 0.2, 0.5, 1, 2, 5, 10):
        parts += [line(x(times), 45, x(times), bottom, "axis" if times == 1 else "grid"),
                  text(x(times), 40, "goal" if times == 1 else f"{times:g}x", "small middle")]
    for i, figure in enumerate(shown):
        y, end = 50 + step * i, x(standing(figure))
        begin, colour = x(1), "#228833" if figure["reached"] else "#cc3311"
        parts += [f'<rect x="{min(begin, end):.1f}" y="{y + 3}" width="{max(abs(end - begin), 2):.1f}" '
                  f'height="{step - 6}" fill="{colour}"/>',
                  text(left - 8, y + 14, figure["title"], "right"),
                  text(left + width + 8, y + 14, f"{short(figure[figure['goal_of']])} ({figure['goal']})", "small")]
    return svg(left + width + 130, bottom + 10, parts)


# --- curves

class Axes:
    """A panel with logarithmic or given axes. `x_at`, `y_at`: numbers to places on the paper."""

    def __init__(self, left, top, width, height, low, high):
        self.left, self.top, self.width, self.height = left, top, width, height
        self.low, self.high = low, high  # of y

    def x_at(self, share):
        return self.left + self.width * share

    def y_at(self, value):
        share = (math.log10(value) - math.log10(self.low)) / (math.log10(self.high) - math.log10(self.low))
        return self.top + self.height * (1 - share)

    def frame(self, ticks):
        yield line(self.left, self.top, self.left, self.top + self.height)
        yield line(self.left, self.top + self.height, self.left + self.width, self.top + self.height)
        for tick in ticks:
            if self.low <= tick <= self.high:
                yield line(self.left, self.y_at(tick), self.left + self.width, self.y_at(tick), "grid")
                yield text(self.left - 6, self.y_at(tick) + 4, short(tick), "small right")

    def curve(self, points, colour, width=2):
        places = " ".join(f"{self.x_at(x):.1f},{self.y_at(max(y, self.low)):.1f}" for x, y in points)
        return f'<polyline points="{places}" fill="none" stroke="{colour}" stroke-width="{width}"/>'


def distribution(figures):
    """Percentiles of COMMIT to visible; the axis stretches towards 100 %."""
    shown = [figure for figure in figures if figure["key"].startswith("visible") and figure["series"]]
    if not shown:
        return None
    values = [y for figure in shown for _, y in figure["series"]]
    axes = Axes(60, 50, 640, 320, 10 ** math.floor(math.log10(max(min(values), 1e-3))),
                10 ** math.ceil(math.log10(max(values) * 1.01)))
    nines = lambda share: min(-math.log10(max(1 - share, 1e-5)), 5) / 5  # noqa: E731
    parts = [text(10, 20, "COMMIT to visible on a replica, ms (logarithmic), by percentile"),
             *axes.frame([m * 10**e for e in range(-3, 6) for m in (1, 2, 5)])]
    for share, name in ((0, "0"), (0.5, "50"), (0.9, "90"), (0.99, "99"), (0.999, "99.9"), (0.9999, "99.99 %")):
        parts += [line(axes.x_at(nines(share)), axes.top, axes.x_at(nines(share)), axes.top + axes.height, "grid"),
                  text(axes.x_at(nines(share)), axes.top + axes.height + 16, name, "small middle")]
    for i, figure in enumerate(shown):
        parts.append(axes.curve([(nines(x), y) for x, y in figure["series"]], COLOURS[i % len(COLOURS)]))
    return svg(730, 410 + 18 * len(shown), [*parts, *legend(shown, 410)])


def legend(shown, y):
    for i, figure in enumerate(shown):
        yield f'<rect x="60" y="{y + 18 * i - 10}" width="12" height="12" fill="{COLOURS[i % len(COLOURS)]}"/>'
        yield text(80, y + 18 * i, figure["title"].replace(", p50", ""))


def growth(figures):
    """What a commit costs, relative to the smallest size; one panel for each thing that grows."""
    shown = [figure for figure in figures if figure["key"].startswith("growth") and figure["series"]]
    if not shown:
        return None
    parts = [text(10, 20, "A commit as things grow: cost relative to the smallest; the red line is the goal")]
    for i, figure in enumerate(shown):
        first = figure["series"][0][1]
        relative = [y / first for _, y in figure["series"]]
        axes = Axes(50 + 380 * i, 60, 310, 240, min(0.5, *relative), max(2, *relative) * 1.1)
        places = [0.1 + 0.8 * n / max(len(relative) - 1, 1) for n in range(len(relative))]
        parts += [text(axes.left, 48, figure["title"]), *axes.frame([0.5, 0.75, 1, 1.5, 2, 3, 5, 10, 20, 50]),
                  axes.curve([(0, 1.1), (1, 1.1)], "#cc3311", width=1),
                  axes.curve([*zip(places, relative)], COLOURS[i % len(COLOURS)])]
        for place, above, (x, y) in zip(places, relative, figure["series"]):
            parts += [text(axes.x_at(place), 318, f"{x:,}", "small middle"),
                      text(axes.x_at(place), axes.y_at(above) - 8, f"{y:.1f} us", "small middle")]
    return svg(40 + 380 * len(shown), 335, parts)


def all_of(figures):
    """{file name: content}."""
    made = {"goals.svg": goals(figures), "visible.svg": distribution(figures), "growth.svg": growth(figures)}
    return {name: content for name, content in made.items() if content}
