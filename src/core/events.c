#include "events.h"
#include "handle.h"
#include "ready.h"

#if AN_POLLS
#include <sys/socket.h>

/* As BaseSelectorEventLoop._process_events for one side of one key. */
static int
add_io_handle(an_loop *rec, PyObject *loop, PyObject *fileobj, PyObject *handle, PyObject *remover)
{
    if (handle == Py_None) {
        return 0;
    }
    int c = an_handle_cancelled(handle);
    if (c < 0) {
        return -1;
    }
    if (c == 0) {
        return an_loop_push(rec, handle);
    }
    PyObject *r = PyObject_CallMethodOneArg(loop, remover, fileobj);
    Py_XDECREF(r);
    return r == NULL ? -1 : 0;
}

/* The wake-up pipe has bytes: what BaseSelectorEventLoop._read_from_self does, without a handle. Zero bytes only wake;
 * others are signal numbers. 0 | -1+exc */
static int
drain_wakeups(an_loop *rec, PyObject *loop)
{
    char buf[512];
    ssize_t n = recv(rec->wake_fd, buf, sizeof buf, MSG_DONTWAIT);
    for (ssize_t i = 0; i < n; i++) {
        if (buf[i] != 0) {
            PyObject *data = PyBytes_FromStringAndSize(buf, n);
            PyObject *r = data == NULL ? NULL : PyObject_CallMethodOneArg(loop, an_st->s__process_self_data, data);
            Py_XDECREF(data);
            Py_XDECREF(r);
            return r == NULL ? -1 : 0;
        }
    }
    return 0;
}

/* 1 if HANDLE is the one that asyncio made for its own wake-up pipe */
static int
is_wakeup_reader(PyObject *handle, PyObject *loop)
{
    if (!PyObject_TypeCheck(handle, (PyTypeObject *)an_st->o_Handle)) {
        return 0;
    }
    PyObject *cb = AN_HSLOT(handle, callback);
    return cb != NULL && PyMethod_Check(cb) && PyMethod_GET_FUNCTION(cb) == an_st->stock_read_from_self &&
           PyMethod_GET_SELF(cb) == loop;
}

int
an_events_take(an_loop *rec, PyObject *loop, int number, int sides)
{
    an_state *st = an_st;
    PyObject *fd = PyLong_FromLong(number), *key;
    if (fd == NULL) {
        return -1;
    }
    if (rec->fdmap == NULL) {
        Py_DECREF(fd);
        return 0;
    }
    int found = PyDict_GetItemRef(rec->fdmap, fd, &key);
    Py_DECREF(fd);
    if (found <= 0) {
        return found;
    }
    int rc = -1;
    /* SelectorKey(fileobj, fd, events, data=(reader, writer)) */
    if (!PyTuple_Check(key) || PyTuple_GET_SIZE(key) != 4) {
        PyErr_SetString(PyExc_RuntimeError, "the loop's selector holds something that is not a SelectorKey");
        goto done;
    }
    PyObject *fileobj = PyTuple_GET_ITEM(key, 0), *data = PyTuple_GET_ITEM(key, 3);
    long want = PyLong_AsLong(PyTuple_GET_ITEM(key, 2));
    if (want == -1 && PyErr_Occurred()) {
        goto done;
    }
    if (!PyTuple_Check(data) || PyTuple_GET_SIZE(data) != 2) {
        PyErr_SetString(PyExc_RuntimeError, "the loop's selector holds a key that asyncio did not make");
        goto done;
    }
    PyObject *reader = Py_NewRef(PyTuple_GET_ITEM(data, 0)), *writer = Py_NewRef(PyTuple_GET_ITEM(data, 1));
    rc = 0;
    if (number == rec->wake_fd && !rec->debug && is_wakeup_reader(reader, loop)) {
        rc = drain_wakeups(rec, loop);
        Py_DECREF(reader);
        Py_DECREF(writer);
        goto done;
    }
    if (sides & AN_READ & want) {
        rc = add_io_handle(rec, loop, fileobj, reader, st->s__remove_reader);
    }
    if (rc == 0 && (sides & AN_WRITE & want)) {
        rc = add_io_handle(rec, loop, fileobj, writer, st->s__remove_writer);
    }
    Py_DECREF(reader);
    Py_DECREF(writer);
done:
    Py_DECREF(key);
    return rc;
}

void *
an_events_buffer(an_loop *rec, int n, size_t size, int *cap)
{
    if (n > rec->evcap || rec->evbuf == NULL) {
        int more = n < 16 ? 16 : n * 2;
        void *buf = PyMem_Realloc(rec->evbuf, (size_t)more * size);
        if (buf == NULL) {
            PyErr_NoMemory();
            return NULL;
        }
        rec->evbuf = buf;
        rec->evcap = more;
    }
    void *buf = rec->evbuf;
    *cap = rec->evcap;
    rec->evbuf = NULL;
    rec->evcap = 0;
    return buf;
}

void
an_events_give_back(an_loop *rec, void *buf, int cap)
{
    if (rec->evbuf == NULL) {
        rec->evbuf = buf;
        rec->evcap = cap;
    }
    else {
        PyMem_Free(buf);
    }
}

#endif
