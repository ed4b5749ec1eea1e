"""``python -m perf dashboard``: what the dashboard costs its server, and how late it shows what changes."""
