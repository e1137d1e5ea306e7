"""Makes the collection's full names importable, as Ansible itself does. Importing this module is enough."""

from __future__ import annotations

from pathlib import Path

from ansible.utils.collection_loader import AnsibleCollectionConfig
from ansible.utils.collection_loader._collection_finder import _AnsibleCollectionFinder

ROOT = Path(__file__).resolve().parents[1]

if AnsibleCollectionConfig.collection_finder is None:
    # It looks in sys.path too: the collections of the environment stay importable.
    _AnsibleCollectionFinder(paths=[str(ROOT / ".collections")])._install()
