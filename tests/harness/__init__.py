"""What the process-level tests share: nodes to start, kill and restart, and a RESP client that shows exact bytes."""

from .node import Node, NodeError, REDIS_SERVER, free_port, is_holdfast, server_binary, tool_binary, wait_until
from .resp import Client, ReplyError, encode, frame_end, parse, parse_all

__all__ = ["Client", "Node", "NodeError", "REDIS_SERVER", "ReplyError", "encode", "frame_end", "free_port",
           "is_holdfast", "parse",
           "parse_all", "server_binary", "tool_binary", "wait_until"]
