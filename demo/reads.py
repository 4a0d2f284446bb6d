"""The input of the demo: sequencing reads of a few made-up genomes, the same on every machine."""

from __future__ import annotations

import random
from pathlib import Path

__all__ = ["write_fastq"]

_SEED = 20261
_GENOME_LENGTH = 6000
#: Part of G and C in each genome, which makes them tell apart in the plot, and how many reads come from each.
_GENOMES = ((0.34, 130), (0.46, 110), (0.58, 100), (0.66, 60))
_MEAN_LENGTH, _SPREAD, _SHORTEST = 900, 220, 200


def write_fastq(path: Path) -> int:
    """Write the reads to ``path`` and return how many they are."""
    chance = random.Random(_SEED)
    records = []
    for genome, (gc, reads) in enumerate(_GENOMES, start=1):
        sequence = _genome(chance, gc)
        records += [_read(chance, sequence, f"genome{genome}_read{number:03d}") for number in range(1, reads + 1)]
    chance.shuffle(records)
    path.write_text("".join(records), encoding="ascii")
    return len(records)


def _genome(chance: random.Random, gc: float) -> str:
    weights = [(1 - gc) / 2, gc / 2, gc / 2, (1 - gc) / 2]
    return "".join(chance.choices("ACGT", weights, k=_GENOME_LENGTH))


def _read(chance: random.Random, genome: str, name: str) -> str:
    length = max(_SHORTEST, round(chance.gauss(_MEAN_LENGTH, _SPREAD)))
    start = chance.randrange(len(genome) - length)
    best = chance.gauss(36, 2)
    bases, qualities = [], []
    for offset, base in enumerate(genome[start : start + length]):
        quality = max(3, min(41, round(chance.gauss(best - 8 * offset / length, 3))))
        wrong = chance.random() < 10 ** (-quality / 10)
        bases.append(chance.choice("ACGT") if wrong else base)
        qualities.append(chr(quality + 33))
    return f"@{name}\n{''.join(bases)}\n+\n{''.join(qualities)}\n"
