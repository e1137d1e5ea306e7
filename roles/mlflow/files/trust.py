"""Write the authorities that clients trust to the second path: the public ones, and those in the file of the first."""

import sys
from pathlib import Path

import certifi

own, together = map(Path, sys.argv[1:])
together.write_text(Path(certifi.where()).read_text() + "\n" + own.read_text())
print(f"{own.read_text().count('BEGIN CERTIFICATE')} authorities of this site are trusted besides the public ones")
