import json

from more_itertools import chunked

print(json.dumps(list(chunked(map(int, input().split()), 2))))
