"""A TCP proxy that counts what passes, in both directions together."""

import contextlib
import selectors
import socket
import threading

from support import free_port


class Proxy:
    """Forwards every connection to `target` (HOST:PORT) while it is entered."""

    def __init__(self, target):
        host, target_port = target.rsplit(":", 1)
        self.target = (host, int(target_port))
        self.listener = socket.create_server(("127.0.0.1", free_port()))
        self.address = f"127.0.0.1:{self.listener.getsockname()[1]}"
        self.sockets, self.count, self.lock = [], 0, threading.Lock()
        self.stopped = False

    def moved(self):
        with self.lock:
            return self.count

    def __enter__(self):
        threading.Thread(target=self.accept, daemon=True).start()
        return self

    def __exit__(self, *_):
        self.stopped = True
        for one in [self.listener, *self.sockets]:
            with contextlib.suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)
            one.close()

    def accept(self):
        while not self.stopped:
            try:
                near, _ = self.listener.accept()
                far = socket.create_connection(self.target)
            except OSError:
                if self.stopped:
                    return
                continue
            self.sockets += [near, far]
            threading.Thread(target=self.forward, args=(near, far), daemon=True).start()

    def forward(self, near, far):
        with contextlib.suppress(OSError, ValueError), selectors.DefaultSelector() as ready:
            ready.register(near, selectors.EVENT_READ, far)
            ready.register(far, selectors.EVENT_READ, near)
            while True:
                for key, _ in ready.select():
                    data = key.fileobj.recv(1 << 16)
                    if not data:
                        near.close()
                        far.close()
                        return
                    with self.lock:
                        self.count += len(data)
                    key.data.sendall(data)
