"""Draws a damped oscillation, and prints how long it takes to halve."""

import math

import matplotlib

matplotlib.use("Agg")  # files, no windows
import matplotlib.pyplot as plt
import numpy as np

damping = float(input())
time = np.linspace(0, 10, 500)
decay = np.exp(-damping * time)

plt.figure(figsize=(7, 3.5), dpi=110)
plt.plot(time, decay * np.cos(4 * time), label="oscillation")
plt.plot(time, decay, "--", label="envelope")
plt.xlabel("time / s")
plt.legend()
plt.tight_layout()
plt.savefig("plot.png")

print(f"half of it after {math.log(2) / damping:.2f} s")
