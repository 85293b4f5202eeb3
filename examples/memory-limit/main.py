"""Takes memory, 8 MiB at a time, until there is none left."""

taken = []
while True:
    taken.append(b"x" * (8 << 20))
    print(f"{8 * len(taken)} MiB", flush=True)
