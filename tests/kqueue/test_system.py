"""What is relied on of kqueue, asked of the system by ``select.kqueue``: on macOS of the real one, on Linux of the shim.

The C path and the shim are written against manual pages. What a system does otherwise than they say is seen here first.
"""

from __future__ import annotations

import errno
import os
import select
import socket
import time

import pytest

READ, WRITE = select.KQ_FILTER_READ, select.KQ_FILTER_WRITE
ADD, DELETE, EOF, ERROR = select.KQ_EV_ADD, select.KQ_EV_DELETE, select.KQ_EV_EOF, select.KQ_EV_ERROR


@pytest.fixture
def queue():
    queue = select.kqueue()
    yield queue
    queue.close()


@pytest.fixture
def pair():
    here, there = socket.socketpair()
    yield here, there
    here.close()
    there.close()


@pytest.fixture
def pipe():
    ends = [open(fd, mode, buffering=0) for fd, mode in zip(os.pipe(), ("rb", "wb"), strict=True)]
    yield ends
    for end in ends:
        end.close()


def change(queue, file, *filters, how=ADD):
    queue.control([select.kevent(file, which, how) for which in filters], 0)


def ready(queue, room=10, timeout=5):
    return sorted((e.ident, e.filter) for e in queue.control(None, room, timeout))


def test_each_side_of_a_descriptor_is_an_event_of_its_own(queue, pair):
    here, there = pair
    fd = here.fileno()
    change(queue, here, READ, WRITE)
    assert ready(queue) == [(fd, WRITE)]
    there.send(b"x")
    assert ready(queue) == [(fd, WRITE), (fd, READ)]
    assert ready(queue) == [(fd, WRITE), (fd, READ)]  # as long as it is so
    change(queue, here, WRITE, how=DELETE)
    assert ready(queue) == [(fd, READ)]
    here.recv(1)
    assert ready(queue, timeout=0) == []


def test_what_finds_no_room_is_told_next_time(queue, pair):
    here, there = pair
    there.send(b"x")
    change(queue, here, READ, WRITE)
    change(queue, there, WRITE)
    assert len(ready(queue, room=2)) == 2
    assert len(ready(queue, room=3)) == 3


def test_the_end_of_a_stream_comes_with_the_bytes_that_are_left(queue, pair):
    here, there = pair
    there.send(b"xyz")
    there.close()
    change(queue, here, READ)
    (event,) = queue.control(None, 5, 5)
    assert event.filter == READ and event.flags & EOF and event.data == 3 and not event.flags & ERROR
    assert here.recv(9) == b"xyz"
    (event,) = queue.control(None, 5, 5)
    assert event.filter == READ and event.flags & EOF and event.data == 0


def test_a_pipe_that_nobody_reads_is_ready_to_be_written(queue, pipe):
    reading, writing = pipe
    change(queue, writing, WRITE)
    reading.close()
    (event,) = queue.control(None, 5, 5)
    assert (event.ident, event.filter) == (writing.fileno(), WRITE) and event.flags & EOF
    with pytest.raises(BrokenPipeError):
        writing.write(b"x")


def test_a_pipe_that_nobody_writes_is_ready_to_be_read(queue, pipe):
    reading, writing = pipe
    change(queue, reading, READ)
    writing.close()
    (event,) = queue.control(None, 5, 5)
    assert (event.ident, event.filter) == (reading.fileno(), READ) and event.flags & EOF


def test_a_connection_that_is_refused_is_ready_to_be_written(queue):
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        address = server.getsockname()
    with socket.socket() as client:
        client.setblocking(False)
        number = client.connect_ex(address)
        change(queue, client, WRITE)
        assert ready(queue) == [(client.fileno(), WRITE)]
        number = client.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR) or number
        assert number == errno.ECONNREFUSED


def test_a_listening_socket_is_ready_when_somebody_connects(queue):
    with socket.create_server(("127.0.0.1", 0)) as server, socket.socket() as client:
        change(queue, server, READ)
        assert ready(queue, timeout=0) == []
        client.connect(server.getsockname())
        assert ready(queue) == [(server.fileno(), READ)]


def test_a_filter_goes_with_its_descriptor(queue, pair):
    here, there = pair
    change(queue, here, READ)
    another = socket.socket(fileno=os.dup(here.fileno()))
    fd = here.fileno()
    here.close()
    there.send(b"x")
    assert ready(queue, timeout=0) == []
    with another, pytest.raises(OSError) as failed:
        change(queue, fd, READ, how=DELETE)
    assert failed.value.errno == errno.EBADF


def test_a_number_that_is_used_again_has_no_filter(queue, pair):
    here, there = pair
    change(queue, here, READ)
    fd = here.fileno()
    here.close()
    new, other = socket.socketpair()
    with new, other:
        if new.fileno() != fd:
            os.dup2(new.fileno(), fd)
        other.send(b"x")
        assert ready(queue, timeout=0) == []
        with pytest.raises(OSError) as failed:
            change(queue, fd, READ, how=DELETE)
        assert failed.value.errno == errno.ENOENT
        change(queue, fd, READ)
        assert ready(queue) == [(fd, READ)]
        if new.fileno() != fd:
            os.close(fd)


def test_what_is_not_registered_cannot_be_taken_away(queue, pair):
    with pytest.raises(OSError) as failed:
        change(queue, pair[0], WRITE, how=DELETE)
    assert failed.value.errno == errno.ENOENT


def test_a_change_that_fails_is_an_event_where_there_is_room(queue, pair):
    (event,) = queue.control([select.kevent(pair[0], WRITE, DELETE)], 5, 5)
    assert event.flags & ERROR and event.data == errno.ENOENT


def test_for_a_list_of_no_events_it_does_not_wait(queue):
    assert queue.control(None, 0, None) == []


@pytest.mark.parametrize("timeout", [0, 1e-9, 1e-4, 0.02])
def test_a_timeout_is_waited_for_and_no_less(queue, timeout):
    start = time.monotonic()
    assert queue.control(None, 1, timeout) == []
    assert time.monotonic() - start >= timeout


def test_a_queue_is_ready_in_another_one(queue, pair):
    inner = select.kqueue()
    try:
        change(inner, pair[0], READ)
        change(queue, inner, READ)
        assert ready(queue, timeout=0) == []
        pair[1].send(b"x")
        assert ready(queue) == [(inner.fileno(), READ)]
    finally:
        inner.close()


def test_a_queue_that_is_closed_is_no_queue(queue):
    closed = select.kqueue()
    closed.close()
    with pytest.raises(ValueError):
        closed.control(None, 1, 0)
