"""Sorts words by their length into tables, and draws how many there are of each."""

import csv
from collections import Counter
from pathlib import Path

words = input().split()
lengths = sorted(Counter(map(len, words)).items())

tables = Path("tables")
tables.mkdir()
for length, _ in lengths:
    with (tables / f"{length}.csv").open("w", newline="") as file:
        csv.writer(file).writerows([word] for word in words if len(word) == length)

bars = "".join(
    f'<rect x="{length * 20}" y="0" width="15" height="{count * 10}"/>' for length, count in lengths
)
Path("lengths.svg").write_text(f'<svg xmlns="http://www.w3.org/2000/svg">{bars}</svg>\n')
print(len(lengths), "lengths")
