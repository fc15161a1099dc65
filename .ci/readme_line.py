"""Print the one line of `sh` that stands under a heading of README.md."""

import re
import sys
from pathlib import Path

readme = Path(__file__).parent.parent / "README.md"
heading = sys.argv[1]
found = re.search(
    rf"^## {re.escape(heading)}\n+```sh\n(.+)\n```$", readme.read_text(), re.MULTILINE
)
if found is None:
    sys.exit(f"README.md has no heading '## {heading}' followed by one line of sh")
print(found[1])  # noqa: T201
