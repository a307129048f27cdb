"""Prints the N-th ```bash block of a Markdown file: `python .ci/block.py README.md 2`."""

import re
import sys

path, number = sys.argv[1], int(sys.argv[2])
with open(path, encoding="utf-8") as file:
    blocks = re.findall(r"^```bash\n(.*?)^```", file.read(), re.DOTALL | re.MULTILINE)
print(blocks[number - 1], end="")
