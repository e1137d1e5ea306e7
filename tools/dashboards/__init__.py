"""The dashboards of the roles, written with Grafana's own builder library: `python -m tools.dashboards`."""
