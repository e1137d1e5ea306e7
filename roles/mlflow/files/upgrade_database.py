"""Bring MLflow's tables, and those of its users, to the version of this image; new databases included."""

import os

import sqlalchemy
from mlflow.server.auth.db import utils as auth
from mlflow.store.db import utils as tracking

engine = sqlalchemy.create_engine(os.environ["MLFLOW_BACKEND_STORE_URI"])
if sqlalchemy.inspect(engine).has_table("experiments"):
    tracking._upgrade_db(engine)
else:
    tracking._initialize_tables(engine)
auth.migrate_if_needed(engine, "head")
print(f"the database is at revision {tracking._get_schema_version(engine)}")
