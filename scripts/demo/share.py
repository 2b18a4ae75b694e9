"""How many threads to use on a machine that others use too.

Threads that wait for each other are slow when one of them must share its core: then one thread alone gets more done.
"""
import os
import time

import torch


def _busy():
    """CPU seconds that the whole machine, and this process, have used so far."""
    with open("/proc/stat") as f:
        fields = [int(v) for v in f.readline().split()[1:9]]
    own = os.times()
    return (sum(fields) - fields[3] - fields[4]) / os.sysconf("SC_CLK_TCK"), own.user + own.system


class Share:
    """Sets torch's threads now and then by what other processes used since the last look."""

    def __init__(self, most):
        self.most, self.last, self.time = most, None, 0.0
        torch.set_num_threads(most)

    def look(self, every=8.0):
        now = time.time()
        if self.most < 2 or now - self.time < every or not os.path.exists("/proc/stat"):
            return
        total, own = _busy()
        if self.last:
            others = (total - self.last[0] - (own - self.last[1])) / (now - self.time)
            torch.set_num_threads(max(1, min(self.most, round(os.cpu_count() - others + 0.1))))
        self.last, self.time = (total, own), now
