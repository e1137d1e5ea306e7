"""The dashboards of the roles, written with Grafana's own builder library: `PYTHONPATH=tools python -m dashboards`."""
