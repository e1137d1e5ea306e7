"""MLflow's own authentication, by which every user may read what the server counts.

Its server refuses each path for which it has no rule to all but administrators, and has none for /metrics: Prometheus
would have to be an administrator.
"""

from mlflow.server import auth

auth.BEFORE_REQUEST_VALIDATORS["/metrics", "GET"] = lambda: True
authenticate = auth.authenticate_request_basic_auth
