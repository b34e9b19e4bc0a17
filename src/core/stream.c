#include "stream.h"
#include "err.h"
#include "sched.h"

#if AN_LINUX
#include <errno.h>
#include <sys/socket.h>

#define AN_READ_MAX (256 * 1024) /* as selector_events._SelectorTransport.max_size */

static char *read_buffer = NULL; /* used between recv and the copy only, with the GIL held */

static PyObject *
stock(PyObject *f, PyObject *self, PyObject *arg)
{
    PyObject *args[2] = {self, arg};
    return PyObject_Vectorcall(f, args, arg == NULL ? 1 : 2, NULL);
}

/* file descriptor of the transport's socket, -1 if it is no open socket.socket, or if somebody has put another METHOD, which
 * is used in its place, on that class (no exception) */
static int
socket_fd(PyObject *self, PyObject *method)
{
    int fd = -1;
    PyTypeObject *type = (PyTypeObject *)an_st->o_socket;
    PyObject *sock = PyObject_GetAttr(self, an_st->s__sock);
    /* socket.socket has both methods from _socket.socket, which nobody can change */
    if (sock != NULL && Py_IS_TYPE(sock, type) && PyDict_Contains(type->tp_dict, method) == 0) {
        PyObject *v = PyObject_CallMethodNoArgs(sock, an_st->s_fileno);
        if (v != NULL) {
            fd = (int)PyLong_AsLong(v);
            Py_DECREF(v);
        }
    }
    PyErr_Clear();
    Py_XDECREF(sock);
    return fd;
}

/* 1 if attribute NAME is VALUE (identity), 0 if not or missing */
static int
attr_is(PyObject *self, PyObject *name, PyObject *value)
{
    PyObject *v = PyObject_GetAttr(self, name);
    if (v == NULL) {
        PyErr_Clear();
        return 0;
    }
    Py_DECREF(v);
    return v == value;
}

/* Hand the current exception to transport._fatal_error, but for those that end the program. */
static PyObject *
fatal(PyObject *self, const char *message)
{
    if (an_err_is_exit()) {
        return NULL;
    }
    PyObject *exc = PyErr_GetRaisedException();
    an_err_before before;
    an_err_handle(exc, &before);
    PyObject *r = PyObject_CallMethod(self, "_fatal_error", "Os", exc, message);
    an_err_handled(&before);
    Py_DECREF(exc);
    return r;
}

static PyObject *
read_ready(PyObject *self, PyObject *noargs)
{
    an_state *st = an_st;
    PyObject *cb = PyObject_GetAttr(self, st->s__read_ready_cb);
    if (cb == NULL) {
        return NULL;
    }
    int plain = PyMethod_Check(cb) && PyMethod_GET_FUNCTION(cb) == st->o_data_received_ready && PyMethod_GET_SELF(cb) == self &&
                attr_is(self, st->s__conn_lost, st->zero) && attr_is(self, st->s_max_size, st->o_max_size);
    int fd = plain ? socket_fd(self, st->s_recv) : -1;
    if (fd < 0) {
        PyObject *r = PyObject_CallNoArgs(cb);
        Py_DECREF(cb);
        return r;
    }
    Py_DECREF(cb);
    if (read_buffer == NULL && (read_buffer = PyMem_RawMalloc(AN_READ_MAX)) == NULL) {
        return PyErr_NoMemory();
    }
    ssize_t n = recv(fd, read_buffer, AN_READ_MAX, 0);
    if (n < 0) {
        if (errno == EAGAIN || errno == EWOULDBLOCK || errno == EINTR) {
            Py_RETURN_NONE;
        }
        PyErr_SetFromErrno(PyExc_OSError);
        return fatal(self, "Fatal read error on socket transport");
    }
    if (n == 0) {
        return PyObject_CallMethod(self, "_read_ready__on_eof", NULL);
    }
    PyObject *data = PyBytes_FromStringAndSize(read_buffer, n);
    PyObject *protocol = data == NULL ? NULL : PyObject_GetAttr(self, st->s__protocol);
    if (protocol == NULL) {
        Py_XDECREF(data);
        return NULL;
    }
    PyObject *r = PyObject_CallMethodOneArg(protocol, st->s_data_received, data);
    Py_DECREF(protocol);
    Py_DECREF(data);
    return r != NULL ? r : fatal(self, "Fatal error: protocol.data_received() call failed.");
}

static int
buffer_empty(PyObject *self)
{
    PyObject *v = PyObject_GetAttr(self, an_st->s__buffer);
    Py_ssize_t n = v == NULL ? -1 : PyObject_Size(v);
    PyErr_Clear();
    Py_XDECREF(v);
    return n == 0;
}

static PyObject *
transport_write(PyObject *self, PyObject *const *args, Py_ssize_t nargs, PyObject *kwnames)
{
    an_state *st = an_st;
    if (AN_UNLIKELY(nargs != 1 || kwnames != NULL)) {
        return an_sched_stock(st->o_transport_write, self, args, nargs, kwnames);
    }
    PyObject *data = args[0];
    int fd = -1;
    if (PyBytes_CheckExact(data) && PyBytes_GET_SIZE(data) > 0 && attr_is(self, st->s__eof, Py_False) &&
        attr_is(self, st->s__empty_waiter, Py_None) && attr_is(self, st->s__conn_lost, st->zero) && buffer_empty(self)) {
        fd = socket_fd(self, st->s_send);
    }
    if (fd < 0) {
        return stock(st->o_transport_write, self, data);
    }
    ssize_t n = send(fd, PyBytes_AS_STRING(data), (size_t)PyBytes_GET_SIZE(data), MSG_NOSIGNAL);
    if (n == PyBytes_GET_SIZE(data)) {
        Py_RETURN_NONE;
    }
    if (n < 0) {
        if (errno == EAGAIN || errno == EWOULDBLOCK || errno == EINTR) {
            return stock(st->o_transport_write, self, data);
        }
        PyErr_SetFromErrno(PyExc_OSError);
        return fatal(self, "Fatal write error on socket transport");
    }
    PyObject *rest = PyBytes_FromStringAndSize(PyBytes_AS_STRING(data) + n, PyBytes_GET_SIZE(data) - n);
    PyObject *r = rest == NULL ? NULL : stock(st->o_transport_write, self, rest);
    Py_XDECREF(rest);
    return r;
}

PyMethodDef an_stream_methods[] = {
    {"_read_ready", read_ready, METH_NOARGS, "_read_ready($self, /)\n--\n\nThe socket has data, or its end."},
    {"write", (PyCFunction)(void (*)(void))transport_write, METH_FASTCALL | METH_KEYWORDS,
     "write($self, data)\n--\n\nSee asyncio.WriteTransport.write."},
    {NULL, NULL, 0, NULL},
};

#else

PyMethodDef an_stream_methods[] = {{NULL, NULL, 0, NULL}};

#endif
