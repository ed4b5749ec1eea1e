"""A soak as one HTML page, and its plot: what was read of the server, over time."""

import html
from collections.abc import Sequence
from typing import Final

from perf.page import STYLE, draw_grid, html_table, svg_of
from perf.soak.run import LIST, PING, Soak

TITLE: Final = "A server under load for a long time"

Line = tuple[str, Sequence[float]]


def soak_as_html(soak: Soak) -> str:
    """Raises NoPlots."""
    said = html.escape
    parts = [
        f"<!doctype html><html lang='en'><head><meta charset='utf-8'><title>{TITLE}</title>",
        "<meta name='viewport' content='width=device-width'>",
        f"<style>{STYLE}</style></head><body><h1>{TITLE}</h1>",
        f"<p{'' if soak.good else ' class=trouble'}><b>{said(soak.verdict())}</b></p>",
        *(f"<p class='trouble'>{said(trouble)}</p>" for trouble in soak.done.troubles),
        *(f"<p class='warning'><b>Warning:</b> {said(warning)}</p>" for warning in soak.warnings),
        "<table class='facts'>",
        *(f"<tr><th>{said(name)}</th><td>{said(value)}</td></tr>" for name, value in soak.facts.items()),
        "</table>",
        f"<p>The same again:</p><pre>{said(soak.plan.command_line)}</pre>" if soak.plan.command_line else "",
        f"<figure>{soak_as_svg(soak)}</figure>",
        "<p>Dashed: at rest, before the load and after it.</p>",
        html_table(*soak.check_table()),
        html_table(*soak.work_table()),
        html_table(*soak.latency_table()),
        "</body></html>",
    ]
    return "\n".join(parts) + "\n"


def soak_as_svg(soak: Soak) -> str:
    """Raises NoPlots."""
    vitals = [window.vitals for window in soak.windows]
    minutes = [(each.at_s - soak.before.at_s) / 60 for each in vitals]
    rest = (soak.before, soak.after)

    def latencies(share: str) -> list[Line]:
        return [
            (what, [getattr(window.latencies[what], share) for window in soak.windows])
            for what in (PING, LIST)
        ]

    panels: list[tuple[str, list[Line], Sequence[float]]] = [
        (
            "resident memory, MB",
            [("", [each.resident_bytes / 1e6 for each in vitals])],
            [each.resident_bytes / 1e6 for each in rest],
        ),
        (
            "memory blocks and objects, thousands",
            [
                ("blocks", [each.blocks / 1e3 for each in vitals]),
                ("objects", [each.objects / 1e3 for each in vitals]),
            ],
            [each.blocks / 1e3 for each in rest] + [each.objects / 1e3 for each in rest],
        ),
        ("tasks", [("", [each.tasks for each in vitals])], [each.tasks for each in rest]),
        (
            "descriptors, connections, threads",
            [
                ("descriptors", [each.descriptors for each in vitals]),
                ("connections of clients", [each.clients for each in vitals]),
                ("threads", [each.threads for each in vitals]),
            ],
            [each.descriptors for each in rest] + [each.threads for each in rest],
        ),
        (
            "rows",
            [
                (table, [each.rows[table] for each in vitals])
                for table in ("actual_lrps", "desired_lrps", "tasks")
            ],
            [],
        ),
        ("CPU of the server per request, µs", [("", [float("nan"), *soak.cpu_us_per_request()])], []),
        ("latency p50, ms", latencies("p50_ms"), []),
        ("latency p99, ms", latencies("p99_ms"), []),
        (
            "requests answered, thousands",
            [("", [(each.requests - soak.before.requests) / 1e3 for each in vitals])],
            [],
        ),
    ]
    plots, figure, axes = draw_grid(len(panels))
    for axis, (title, lines, levels) in zip(axes, panels, strict=True):
        for name, values in lines:
            axis.plot(minutes, values, label=name or None, linewidth=1.2)
        for level in levels:
            axis.axhline(level, linestyle="--", linewidth=0.8, color="#777777")
        axis.set_title(title, fontsize=10)
        axis.set_ylim(bottom=0)
        axis.set_xlabel("minutes", fontsize=8)
        axis.grid(alpha=0.3)
        if len(lines) > 1:
            axis.legend(fontsize=7)
    return svg_of(plots, figure)
