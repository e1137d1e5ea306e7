"""A model of an MLflow registry behind a plain HTTP API."""
