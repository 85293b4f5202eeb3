"""A line through the points given on standard input, one `x y` a line."""

import sys

import numpy

points = numpy.loadtxt(sys.stdin)
slope, intercept = numpy.polyfit(points[:, 0], points[:, 1], 1)
print(f"y = {slope:.3f} x + {intercept:.3f}")
