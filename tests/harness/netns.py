"""A network namespace behind a link of limited rate, made with ip and tc; needs root."""

import os
import shutil
import stat
import subprocess

from .node import Node


def _run(*argv):
    subprocess.run(argv, check=True, capture_output=True, text=True)


class Namespace:
    """Processes in here reach the node outside at `address`; what it sends them passes a link of mb_per_s (MiB)."""

    def __init__(self, mb_per_s, dir):
        tag = os.getpid() % 100000
        self.name, self.outer, inner = f"hf{tag}", f"hf{tag}o", f"hf{tag}i"
        self.address = f"10.213.{tag % 251}.1"
        self.dir = dir
        bits = f"{int(mb_per_s * 8 * 1048576)}bit"
        _run("ip", "netns", "add", self.name)
        try:
            _run("ip", "link", "add", self.outer, "type", "veth", "peer", "name", inner)
            _run("ip", "link", "set", inner, "netns", self.name)
            _run("ip", "addr", "add", f"{self.address}/30", "dev", self.outer)
            _run("ip", "link", "set", self.outer, "up")
            inside = ["ip", "-n", self.name]
            _run(*inside, "addr", "add", f"10.213.{tag % 251}.2/30", "dev", inner)
            _run(*inside, "link", "set", inner, "up")
            _run(*inside, "link", "set", "lo", "up")
            _run("tc", "qdisc", "add", "dev", self.outer, "root", "tbf", "rate", bits, "burst", "256kb", "latency", "50ms")
        except BaseException:
            self.close()
            raise

    @staticmethod
    def is_possible():
        if os.geteuid() != 0 or not shutil.which("ip") or not shutil.which("tc"):
            return False
        try:
            Namespace(1, "/tmp").close()
        except (OSError, subprocess.CalledProcessError):
            return False
        return True

    def node(self, config, binary):
        """A node in here; clients outside reach it by a Unix socket."""
        wrapper = os.path.join(self.dir, os.path.basename(binary) + "-inside")
        with open(wrapper, "w") as f:
            f.write(f'#!/bin/sh\nexec ip netns exec {self.name} {binary} "$@"\n')
        os.chmod(wrapper, stat.S_IRWXU)
        node = Node({"port": 0, **config}, binary=wrapper)
        node.reconfigure(unixsocket=os.path.join(node.dir, "socket"))
        return node

    def close(self):
        subprocess.run(["ip", "link", "del", self.outer], capture_output=True)
        subprocess.run(["ip", "netns", "del", self.name], capture_output=True)
