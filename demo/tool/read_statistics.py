"""The tool that the demo runs: statistics of every read of a FASTQ file, as a table and as a plot.

usage: read_statistics.py READS.fastq TABLE.tsv PLOT.svg

Standard library only, for it runs wherever the node is. It tells its progress on standard output, one line at a time.
"""

import re
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

WORD = 13
COMPLEMENT = str.maketrans("ACGT", "TGCA")
OPEN_FRAME = re.compile(r"(?=(ATG(?:(?!TAA|TAG|TGA)...)*(?:TAA|TAG|TGA)))")


class Read(NamedTuple):
    """One record of the file."""

    name: str
    bases: str
    qualities: str


class Row(NamedTuple):
    """One line of the table."""

    name: str
    length: int
    gc_percent: float
    mean_quality: float
    longest_frame: int
    nearest: str
    similarity: float


def main() -> int:
    """Do it all; return the exit status."""
    if len(sys.argv) != 4:
        print(__doc__, file=sys.stderr)
        return 2
    source, table, plot = sys.argv[1:]
    reads = list(parse_fastq(Path(source).read_text(encoding="ascii")))
    if not reads:
        print(f"{source} has no reads", file=sys.stderr)
        return 1
    rows = list(with_progress(statistics(reads), len(reads)))
    lines = ["\t".join(Row._fields), *("\t".join(str(value) for value in row) for row in rows)]
    Path(table).write_text("\n".join(lines) + "\n", encoding="ascii")
    Path(plot).write_text(draw(rows), encoding="ascii")
    print(f"done: {len(rows)} reads, {sum(row.length for row in rows)} bases", flush=True)
    return 0


def parse_fastq(text: str) -> Iterator[Read]:
    """Yield the records."""
    lines = text.splitlines()
    for header, bases, _, qualities in zip(*[iter(lines)] * 4, strict=True):
        yield Read(header[1:].split()[0], bases, qualities)


def with_progress(rows: Iterator[Row], total: int) -> Iterator[Row]:
    """Pass the rows on and tell how many there were."""
    for done, row in enumerate(rows, start=1):
        yield row
        if done % 10 == 0 or done == total:
            print(f"progress {done} {total}", flush=True)


def statistics(reads: list[Read]) -> Iterator[Row]:
    """Yield a row for each read. Every read is compared with every other: the nearest shares most words with it."""
    words = [{read.bases[at : at + WORD] for at in range(len(read.bases) - WORD + 1)} for read in reads]
    for index, read in enumerate(reads):
        similarity, nearest = max(
            (jaccard(words[index], other), reads[position].name) for position, other in enumerate(words) if position != index
        )
        errors = [10 ** (-(ord(quality) - 33) / 10) for quality in read.qualities]
        yield Row(
            read.name,
            len(read.bases),
            round(100 * sum(map(read.bases.count, "GC")) / len(read.bases), 2),
            round(sum(ord(quality) - 33 for quality in read.qualities) / len(errors), 2),
            longest_frame(read.bases),
            nearest,
            round(similarity, 3),
        )


def jaccard(some: set[str], others: set[str]) -> float:
    """Return which part of all their words two reads have in common."""
    shared = len(some & others)
    return shared / (len(some) + len(others) - shared)


def longest_frame(bases: str) -> int:
    """Return the length of the longest open reading frame, on either strand."""
    strands = (bases, bases.translate(COMPLEMENT)[::-1])
    return max((len(match[1]) for strand in strands for match in OPEN_FRAME.finditer(strand)), default=0)


# -- the plot -----------------------------------------------------------------------------------------------------------

PANEL, MARGIN, GAP = 320, 56, 84


def draw(rows: list[Row]) -> str:
    """Return an SVG with two panels: how long the reads are, and what they consist of."""
    width, height = 2 * MARGIN + 2 * PANEL + GAP, 2 * MARGIN + PANEL
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" font-family="sans-serif" font-size="12">',
        f'<rect width="{width}" height="{height}" fill="white"/>',
        *lengths_panel(rows, MARGIN),
        *composition_panel(rows, MARGIN + PANEL + GAP),
        "</svg>",
    ]
    return "\n".join(parts) + "\n"


def lengths_panel(rows: list[Row], left: int) -> list[str]:
    """Return the histogram of the lengths."""
    step = 100
    counts = Counter(row.length // step for row in rows)
    first, last = min(counts), max(counts)
    highest = 20 * -(-max(counts.values()) // 20)
    bar = PANEL / (last - first + 1)
    parts = frame(left, "Read lengths", "bases", "reads", (first * step, (last + 1) * step), (0, highest))
    for number, count in counts.items():
        tall = PANEL * count / highest
        x, y = left + (number - first) * bar, MARGIN + PANEL - tall
        parts.append(f'<rect x="{x + 1:.1f}" y="{y:.1f}" width="{bar - 2:.1f}" height="{tall:.1f}" fill="#4477aa"/>')
    return parts


def composition_panel(rows: list[Row], left: int) -> list[str]:
    """Return GC content against quality, a dot for each read; the darker, the more it has in common with another read."""
    low, high = 5 * (min(row.gc_percent for row in rows) // 5), 5 * -(-max(row.gc_percent for row in rows) // 5)
    worst, best = min(row.mean_quality for row in rows) // 1, -(-max(row.mean_quality for row in rows) // 1)
    parts = frame(left, "Composition and quality", "GC %", "mean quality", (low, high), (worst, best))
    for row in rows:
        x = left + PANEL * (row.gc_percent - low) / (high - low)
        y = MARGIN + PANEL * (1 - (row.mean_quality - worst) / (best - worst))
        title = f"{row.name}: {row.length} bases, nearest {row.nearest}"
        opacity = 0.25 + 0.75 * row.similarity
        parts.append(
            f'<circle cx="{x:.1f}" cy="{y:.1f}" r="4" fill="#cc6677" fill-opacity="{opacity:.2f}"><title>{title}</title></circle>'
        )
    return parts


def frame(left: int, title: str, across: str, up: str, x_range: tuple[float, float], y_range: tuple[float, float]) -> list[str]:
    """Return axes with their labels."""
    bottom, middle = MARGIN + PANEL, left + PANEL / 2
    parts = [
        f'<text x="{middle}" y="{MARGIN - 20}" text-anchor="middle" font-size="15">{title}</text>',
        f'<text x="{middle}" y="{bottom + 40}" text-anchor="middle">{across}</text>',
        f'<text transform="translate({left - 40},{MARGIN + PANEL / 2}) rotate(-90)" text-anchor="middle">{up}</text>',
        f'<path d="M{left} {MARGIN}V{bottom}H{left + PANEL}" fill="none" stroke="black"/>',
    ]
    for part in range(5):
        x, y = left + PANEL * part / 4, bottom - PANEL * part / 4
        parts.append(f'<path d="M{x} {bottom}v5M{left} {y}h-5" stroke="black"/>')
        parts.append(f'<text x="{x}" y="{bottom + 20}" text-anchor="middle">{between(x_range, part / 4)}</text>')
        parts.append(f'<text x="{left - 9}" y="{y + 4}" text-anchor="end">{between(y_range, part / 4)}</text>')
    return parts


def between(limits: tuple[float, float], part: float) -> str:
    """Return the number at this part of the way, short."""
    return f"{limits[0] + (limits[1] - limits[0]) * part:.4g}"


if __name__ == "__main__":
    sys.exit(main())
