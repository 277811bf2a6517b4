"""Where processes listen is read from the kernel."""

import os
import socket

from tailrace.host import ports


def test_a_port_that_is_listened_on_is_found():
    """By its process, as an address; one that is only bound or connected, the control, is not."""
    with socket.create_server(("127.0.0.1", 0)) as server, socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        here = f"127.0.0.1:{server.getsockname()[1]}"
        with socket.create_connection(server.getsockname()) as client:
            found = ports.listening([os.getpid()])
            assert here in found
            assert f"127.0.0.1:{bound.getsockname()[1]}" not in found
            assert f"127.0.0.1:{client.getsockname()[1]}" not in found
    assert here not in ports.listening([os.getpid()])


def test_a_process_that_is_gone_listens_nowhere():
    """A pid that no process has is no error: it may have ended just now."""
    assert ports.listening([2**22 + 1]) == []
