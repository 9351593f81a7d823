"""The benchmark's files are a script's: they find one another in its folder."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
