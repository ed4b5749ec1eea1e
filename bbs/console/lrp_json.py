"""One app as one JSON object. Pure."""

import json

from bbs.models.go_json import quote, to_json
from bbs.words.app import App
from bbs.words.reasons import headline, is_as_desired, reasons


def document(app: App) -> str:
    """A line of JSON. Records are in cfdot's form: ``desired`` is one or null, ``actual`` is a list.

    ``cells`` has an entry for each cell that a row names: whether it is announced, and its zone.
    """
    found = reasons(app)
    named = sorted({row.actual_lrp_instance_key.cell_id for row in app.rows} - {""})
    cells = {
        cell_id: {
            "announced": cell_id in app.cells,
            "zone": app.cells[cell_id].zone if cell_id in app.cells else "",
        }
        for cell_id in named
    }
    parts = {
        "process_guid": quote(app.process_guid),
        "seen": str(app.seen_ns),
        "desired": to_json(app.desired) if app.desired is not None else "null",
        "domain": _dumped({"name": app.domain, "fresh": app.domain in app.fresh_domains}),
        "actual": f"[{','.join(map(to_json, app.rows))}]",
        "cells": _dumped(cells),
        "as_desired": _dumped(is_as_desired(found)),
        "headline": quote(headline(app)),
        "reasons": _dumped([{"why": each.why, "index": each.index, "text": each.text} for each in found]),
    }
    return "{" + ",".join(f"{quote(key)}:{value}" for key, value in parts.items()) + "}"


def _dumped(value: object) -> str:
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False)
