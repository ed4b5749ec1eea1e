"""A comparison as one HTML page that needs nothing beside it: the tables of the report, and plots drawn by matplotlib as SVG.

matplotlib is only imported when a page is made; it is in the extra ``perf``.
"""

import html
import io
import math
from collections.abc import Sequence
from typing import Any, Final

from perf.readings import Outcome, Reading, medians
from perf.report import COLUMNS, cells, title, which_is_better

COLOURS: Final = ("#2f6db5", "#d9822b", "#3d9a50", "#a5469b", "#777777")
WIDE: Final = 25
"""An axis that reaches that many times as far as it begins is logarithmic."""

LABEL_CHARACTERS_MAX: Final = 50
TITLE: Final = "What a BBS costs: measurements"
STYLE: Final = """
body { font: 15px/1.45 system-ui, sans-serif; margin: 2em auto; max-width: 76em; padding: 0 1em; color: #222; }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; font-size: 13px; margin: 1em 0; }
td, th { border: 1px solid #ddd; padding: .2em .6em; text-align: right; }
td:first-child, th:first-child, .facts td { text-align: left; }
th { background: #f4f4f4; } th small { display: block; font-weight: normal; color: #666; }
th[title] { cursor: help; }
.facts th { text-align: left; font-weight: normal; color: #555; }
.trouble { background: #fde8e8; border-left: 4px solid #c33; padding: .4em .8em; }
.warning { background: #fff6dd; border-left: 4px solid #d9a22b; padding: .4em .8em; }
.said { color: #666; font-size: 13px; }
.wide { overflow-x: auto; }
pre { background: #f4f4f4; padding: .6em .8em; overflow-x: auto; }
dt { font-weight: 600; } dd { margin: 0 0 .3em 1.5em; }
figure { margin: 1em 0; } svg { max-width: 100%; height: auto; }
"""


class NoPlots(Exception):
    """matplotlib is not installed."""


def require_plots() -> None:
    """Raises NoPlots if no page could be made; to be asked before a long run."""
    _pyplot()


def as_html(outcome: Outcome) -> str:
    """Raises NoPlots."""
    scenarios = list(dict.fromkeys(scenario for scenario, _ in outcome.readings))
    said = html.escape
    parts = [
        f"<!doctype html><html lang='en'><head><meta charset='utf-8'><title>{TITLE}</title>",
        "<meta name='viewport' content='width=device-width'>",
        f"<style>{STYLE}</style></head><body><h1>{TITLE}</h1>",
        *(
            f"<p class='trouble'><b>{'Incomplete' if outcome.interrupted else 'Do not trust these figures'}:</b> {said(each)}</p>"
            for each in outcome.troubles
        ),
        *(f"<p class='warning'><b>Warning:</b> {said(each)}</p>" for each in outcome.warnings),
        "<table class='facts'>",
        *(
            f"<tr><th>{said(name)}</th><td>{said(str(value))}</td></tr>"
            for name, value in outcome.facts.items()
        ),
        "</table>",
        f"<p>The same again:</p><pre>{said(outcome.command_line)}</pre>" if outcome.command_line else "",
        "<p>Every answer was checked; a wrong one, or a wrong number of rows, events or auctions, would stand in red above. Figures"
        " are medians of the rounds (dots in the bar charts are the rounds). What the columns say is at the",
        "<a href='#columns'>end of the page</a>.",
        "Figures of two machines, or of a quiet and a busy one, cannot be compared: only those of one page.</p><ul>",
        *(
            f"<li><a href='#{said(name)}'>{said(name)}</a>: {said(outcome.about.get(name, ''))}</li>"
            for name in scenarios
        ),
        "</ul>",
    ]
    shown: dict[str, None] = {}
    for scenario in scenarios:
        parts.append(
            f"<h2 id='{said(scenario)}'>{said(scenario)}</h2><p>{said(outcome.about.get(scenario, ''))}</p>"
        )
        if scenario in outcome.conditions:
            parts.append(f"<p class='said'>{said(str(outcome.conditions[scenario]))}</p>")
        points = [point for name, point in outcome.readings if name == scenario]
        drawn = grown(outcome, scenario, points) if len(points) > 1 else bars(outcome, scenario, points[0])
        parts.append(f"<figure>{drawn}</figure>")
        for point in points:
            if point is not None:
                parts.append(f"<h3>{said(title(outcome, scenario, point))}</h3>")
            header, rows = cells(outcome, scenario, point)
            shown |= dict.fromkeys(header)
            parts.append(html_table(header, rows))
    parts.append("<h2 id='columns'>What the columns say</h2><dl>")
    parts += [f"<dt>{said(name)}</dt><dd>{said(COLUMNS[name])}</dd>" for name in shown if name in COLUMNS]
    return "\n".join([*parts, "</dl></body></html>"]) + "\n"


def bars(outcome: Outcome, scenario: str, point: float | None) -> str:
    """A panel per headline: the median of each step and server as a bar, the rounds as dots."""
    steps = outcome.readings[scenario, point]
    panels = list(dict.fromkeys(_headline(by_server) for by_server in steps.values()))
    plots, figure, axes = _panels([sum(_headline(s) == p for s in steps.values()) for p in panels])
    width = 0.8 / len(outcome.servers)
    for axis, panel in zip(axes, panels, strict=True):
        shown = {step: each for step, each in steps.items() if _headline(each) == panel}
        labelled: set[str] = set()
        for place, server in enumerate(outcome.servers):
            for row, by_server in enumerate(shown.values()):
                if server not in by_server:
                    continue
                at = row + place * width
                values = [each.values[panel] for each in by_server[server]]
                label = _label(outcome, server) if server not in labelled else None
                labelled.add(server)
                axis.barh(
                    at,
                    medians(by_server[server])[panel],
                    width,
                    color=_colour(place),
                    alpha=0.75,
                    label=label,
                )
                axis.plot(values, [at] * len(values), ".", color="black", markersize=4)
        axis.set_yticks([row + 0.4 - width / 2 for row in range(len(shown))], list(shown))
        axis.invert_yaxis()
        axis.set_xlabel(f"{panel} ({which_is_better(panel)})")
        axis.grid(axis="x", alpha=0.3)
        if len(outcome.servers) > 1:
            axis.legend()
    return svg_of(plots, figure)


def grown(outcome: Outcome, scenario: str, points: Sequence[float | None]) -> str:
    """A panel per step: the headline along the scenario's axis, a line per server."""
    along = [point for point in points if point is not None]
    steps = list(dict.fromkeys(step for point in along for step in outcome.readings[scenario, point]))
    plots, figure, axes = draw_grid(len(steps))
    for axis, step in zip(axes, steps, strict=False):
        highest: list[float] = []
        for place, server in enumerate(outcome.servers):
            found: list[tuple[float, list[Reading]]] = []
            for point in along:
                rounds = outcome.readings[scenario, point].get(step, {}).get(server)
                if rounds:
                    found.append((point, rounds))
            if not found:
                continue
            headline = found[0][1][0].headline
            places = [point for point, _ in found]
            along_it = [medians(rounds)[headline] for _, rounds in found]
            highest += [value for value in along_it if math.isfinite(value)]
            axis.plot(
                places,
                along_it,
                "o-",
                color=_colour(place),
                label=_label(outcome, server),
            )
            axis.set_ylabel(f"{headline} ({which_is_better(headline)})", fontsize=8)
        axis.set_title(step, fontsize=10)
        axis.set_ylim(bottom=0, top=1.05 * max(highest, default=1.0) or 1.0)
        if along[-1] > WIDE * along[0]:
            axis.set_xscale("log")
        axis.set_xticks(along, [f"{point:,.0f}" for point in along], fontsize=8)
        axis.minorticks_off()
        axis.set_xlabel(outcome.axes.get(scenario, ""))
        axis.grid(alpha=0.3)
        if len(outcome.servers) > 1:
            axis.legend(fontsize=8)
    for axis in axes[len(steps) :]:
        axis.set_visible(False)
    return svg_of(plots, figure)


def _headline(by_server: "dict[str, list[Reading]]") -> str:
    return next(iter(by_server.values()))[0].headline


def _label(outcome: Outcome, server: str) -> str:
    """Its name, and what it is."""
    what = str(outcome.facts.get(f"server {server}", ""))
    return f"{server}: {what}"[:LABEL_CHARACTERS_MAX] if what else server


def _colour(place: int) -> str:
    return COLOURS[place % len(COLOURS)]


def html_table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    head = "".join(
        f"<th title='{html.escape(COLUMNS.get(cell, ''))}'>{html.escape(cell)}</th>" for cell in header
    )
    body = "".join(
        "<tr>" + "".join(f"<td>{html.escape(cell)}</td>" for cell in row) + "</tr>" for row in rows
    )
    return f"<div class='wide'><table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>"


def _pyplot() -> Any:
    """matplotlib's, without a display.

    Raises:
      NoPlots: it is not there.
    """
    try:
        import matplotlib
    except ImportError as error:
        raise NoPlots("matplotlib is not installed: pip install 'bbs[perf]'") from error
    matplotlib.use("svg")
    matplotlib.rcParams["svg.fonttype"] = "none"  # text, not the outlines of its letters
    matplotlib.rcParams["font.family"] = "sans-serif"
    from matplotlib import pyplot

    return pyplot


def _panels(rows: Sequence[int]) -> tuple[Any, Any, list[Any]]:
    plots = _pyplot()
    heights = [max(count, 1) for count in rows]
    figure, axes = plots.subplots(
        len(rows),
        1,
        figsize=(10, 1.1 * len(rows) + 0.45 * sum(heights)),
        gridspec_kw={"height_ratios": heights},
        squeeze=False,
        layout="constrained",
    )
    return plots, figure, [axis for line in axes for axis in line]


def draw_grid(count: int) -> tuple[Any, Any, list[Any]]:
    plots = _pyplot()
    columns = 3
    lines = math.ceil(count / columns)
    figure, axes = plots.subplots(
        lines, columns, figsize=(12, 3 * lines), squeeze=False, layout="constrained"
    )
    return plots, figure, [axis for line in axes for axis in line]


def svg_of(plots: Any, figure: Any) -> str:
    drawn = io.StringIO()
    figure.savefig(drawn, format="svg", metadata=dict.fromkeys(("Creator", "Date", "Format", "Type")))
    plots.close(figure)
    text = drawn.getvalue()
    return text[text.index("<svg") :]
