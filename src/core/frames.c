#include "frames.h"

/* 0 not known yet, 1 frame objects are as expected, -1 they are not: no frame is touched */
static int usable = 0;

static PyObject *
current_frame(void)
{
    return (PyObject *)PyThreadState_GetFrame(PyThreadState_Get());
}

static PyObject *
back(PyObject *frame)
{
    return (PyObject *)PyFrame_GetBack((PyFrameObject *)frame);
}

/* TOP is the current frame, BOTTOM another one, with nothing beneath it. Does the field do what is expected? */
static int
field_is_there(PyObject *top, PyObject *bottom)
{
    PyObject **field = AN_FRAME_BACK(bottom), *seen, *after;
    if (top == bottom || *field != NULL) {
        return 0;
    }
    *field = top;
    seen = back(bottom);
    *field = NULL;
    after = back(bottom);
    int r = seen == top && after == NULL;
    Py_XDECREF(seen);
    Py_XDECREF(after);
    return r;
}

void
an_anchor_set(an_anchor *a)
{
    if (usable >= 0 && a->frame == NULL) {
        a->frame = current_frame();
    }
}

int
an_anchor_check(an_anchor *a)
{
    an_link *before = NULL;
    for (an_link *link = a->links; link != NULL; before = link, link = link->next) {
        if (link->to != a || link->prev != before || a->frame == NULL || *AN_FRAME_BACK(link->bottom) != a->frame) {
            return 0;
        }
    }
    return 1;
}

static void
unlink_from_anchor(an_link *link)
{
    if (link->to == NULL) {
        return;
    }
    if (link->prev != NULL) {
        link->prev->next = link->next;
    }
    else {
        link->to->links = link->next;
    }
    if (link->next != NULL) {
        link->next->prev = link->prev;
    }
    link->prev = link->next = NULL;
    link->to = NULL;
}

void
an_link_set(an_link *link, an_anchor *to)
{
    if (to != NULL && to->frame == NULL) {
        to = NULL;
    }
    if (link == NULL || link->to == to) {
        return;
    }
    unlink_from_anchor(link);
    PyObject **field = AN_FRAME_BACK(link->bottom), *old = *field;
    if (to != NULL) {
        link->to = to;
        link->next = to->links;
        if (to->links != NULL) {
            to->links->prev = link;
        }
        to->links = link;
    }
    *field = to == NULL ? NULL : Py_NewRef(to->frame);
    if (old != NULL) {
        PyObject *exc = PyErr_GetRaisedException();
        Py_DECREF(old);
        PyErr_SetRaisedException(exc);
    }
}

void
an_anchor_drop(an_anchor *a, an_anchor *instead)
{
    while (a->links != NULL) {
        an_link_set(a->links, instead == a ? NULL : instead);
    }
    if (a->frame != NULL) {
        PyObject *frame = a->frame, *exc = PyErr_GetRaisedException();
        a->frame = NULL;
        Py_DECREF(frame);
        PyErr_SetRaisedException(exc);
    }
}

an_link *
an_link_new(void)
{
    PyObject *top = usable < 0 ? NULL : current_frame(), *frame = Py_XNewRef(top), *below;
    if (top == NULL) {
        return NULL;
    }
    while ((below = back(frame)) != NULL) {
        Py_SETREF(frame, below);
    }
    if (usable == 0) {
        usable = field_is_there(top, frame) ? 1 : -1;
    }
    an_link *link = usable < 0 || top == frame ? NULL : PyMem_Calloc(1, sizeof(an_link));
    Py_DECREF(top);
    if (link == NULL) {
        Py_DECREF(frame);
        return NULL;
    }
    link->bottom = frame;
    return link;
}

void
an_link_free(an_link *link)
{
    if (link != NULL) {
        an_link_set(link, NULL);
        Py_DECREF(link->bottom);
        PyMem_Free(link);
    }
}
