"""What the network that hangs waits for; a module of its own, as the file of networks is imported once for each."""

import threading

ENDED = threading.Event()
