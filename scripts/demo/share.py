"""How many threads to use on a machine that others use too.

Threads that wait for each other are slow when one of them must share its core: then one thread alone gets more done.
"""
import os
import time

import torch

BUSY = 0.35          # of a core: what others may use before they count


def _children():
    """The processes that draw for this one."""
    own = os.getpid()
    try:
        with open(f"/proc/{own}/task/{own}/children") as f:
            return f.read().split()
    except OSError:
        return []


def _busy():
    """CPU seconds that the whole machine, and this process with its children, have used so far."""
    tick = os.sysconf("SC_CLK_TCK")
    with open("/proc/stat") as f:
        fields = [int(v) for v in f.readline().split()[1:9]]
    own = os.times()
    mine = own.user + own.system
    for child in _children():
        try:
            with open(f"/proc/{child}/stat") as f:
                after_name = f.read().rsplit(")", 1)[1].split()
            mine += (int(after_name[11]) + int(after_name[12])) / tick
        except OSError:
            pass                      # it has just ended
    return (sum(fields) - fields[3] - fields[4]) / tick, mine


class Share:
    """Sets torch's threads now and then by what other processes used since the last look."""

    def __init__(self, most):
        self.most, self.last, self.time, self.calm = most, None, 0.0, 0
        torch.set_num_threads(most)

    def look(self, every=2.0):
        now = time.time()
        if self.most < 2 or now - self.time < every or not os.path.exists("/proc/stat"):
            return
        total, own = _busy()
        if self.last:
            others = (total - self.last[0] - (own - self.last[1])) / (now - self.time)
            self.calm = self.calm + 1 if others < BUSY else 0
            if others >= BUSY:
                torch.set_num_threads(1)
            elif self.calm >= 2:
                torch.set_num_threads(self.most)
        self.last, self.time = (total, own), now
