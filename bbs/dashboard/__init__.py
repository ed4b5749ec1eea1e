"""The dashboard: what a server has in memory and counts, as pages for a browser. It only reads.

`Dashboard` (`dashboard.py`) is put together from `Sources` and mounted into the debug port's application (`pages.py`). What a page
shows is a *view* (`views.py`): a function that gives named sections as JSON. `live.py` has the views that somebody looks at made
again every second, once for all who look, and sends the sections that have changed. Events go a way of their own, `happenings.py`.
What the streams of both have in common is in `page_stream.py`.

Others use `Dashboard`, `Sources` and `Role`.
"""
