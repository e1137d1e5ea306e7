"""What all tests share."""

from __future__ import annotations

import collection_names  # noqa: F401  (the import is what it is for)
