"""Size of the base package as a user installs it: a fresh environment in a temporary folder, measured and removed.

Sizes are those of the files (``du --apparent-size``). Needs the package index and some minutes. Prints Markdown.

    python benchmarks/install_size.py
    python benchmarks/install_size.py --extras video --top 20
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
import time
import venv
from collections import Counter
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parent.parent


def size_of(path: Path) -> int:
    """Bytes of a file, or of all files below a folder; links are not followed."""
    if path.is_symlink() or not path.is_dir():
        return path.lstat().st_size
    return sum(size_of(entry) for entry in path.iterdir())


def packages_by_size(python: Path) -> Counter[str]:
    """Bytes of every installed distribution, from the lists of files that the installer left."""
    listing = subprocess.run(
        [str(python), "-c", _LIST_FILES], check=True, capture_output=True, text=True
    ).stdout.splitlines()
    sizes: Counter[str] = Counter()
    for line in listing:
        name, file = line.split("\t")
        path = Path(file)
        if path.exists():
            sizes[name] += path.lstat().st_size
    return sizes


_LIST_FILES = """
from importlib.metadata import distributions
for d in distributions():
    for f in d.files or ():
        print(d.metadata["Name"], f.locate(), sep="\\t")
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--extras", default="", help="extras to install too, by commas")
    parser.add_argument("--top", type=int, default=12, help="how many packages to list")
    args = parser.parse_args()
    target = f"{REPOSITORY}[{args.extras}]" if args.extras else str(REPOSITORY)
    with tempfile.TemporaryDirectory() as folder:
        start = time.perf_counter()
        # Without pip inside: it is no part of the package.
        venv.create(folder, with_pip=False)
        python = Path(folder) / "bin" / "python"
        command = [sys.executable, "-m", "pip", "--python", str(python), "install", "--quiet"]
        subprocess.run([*command, "-c", str(REPOSITORY / "constraints.txt"), target], check=True)
        seconds = time.perf_counter() - start
        total, sizes = size_of(Path(folder)), packages_by_size(python)
    name = f"metrichmsr[{args.extras}]" if args.extras else "metrichmsr"
    print(
        f"`pip install {name}` into an empty environment: **{total / 1e6:.0f} MB** in {len(sizes)} packages, ", end=""
    )
    print(f"{seconds:.0f} s with this machine's cache and network.\n")
    print("| package | MB |\n| --- | ---: |")
    for package, size in sizes.most_common(args.top):
        print(f"| {package} | {size / 1e6:.0f} |")
    rest = sum(sizes.values()) - sum(size for _, size in sizes.most_common(args.top))
    print(f"| {max(0, len(sizes) - args.top)} others | {rest / 1e6:.0f} |")


if __name__ == "__main__":
    main()
