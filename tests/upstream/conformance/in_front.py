"""Loaded by pytest: connections to the port of the suite's server go to the gate before it.

With a server that has closed nobody is dialled: the suite waits for its server on this port, and for its end.
"""

import os
import socket

SERVER, GATE = int(os.environ["SERVER_PORT"]), int(os.environ["GATE_PORT"])


class Socket(socket.socket):
    def connect(self, address):
        if isinstance(address, tuple) and address[1] == SERVER:
            if self.family == socket.AF_INET6:
                raise ConnectionRefusedError("the gate listens on IPv4")
            address = ("127.0.0.1", GATE)
        return super().connect(address)


socket.socket = Socket
