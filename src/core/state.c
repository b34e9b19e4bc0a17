#include "state.h"

an_state *an_st = NULL;

int
an_state_init(PyObject *module, an_state *st)
{
#define X(n) \
    if ((st->s_##n = PyUnicode_InternFromString(#n)) == NULL) { \
        return -1; \
    }
    AN_NAMES(X)
#undef X
#define X(n, m, a, needed) \
    if ((st->o_##n = an_import_attr(m, a)) == NULL) { \
        if (needed || !(PyErr_ExceptionMatches(PyExc_AttributeError) || PyErr_ExceptionMatches(PyExc_ImportError))) { \
            return -1; \
        } \
        PyErr_Clear(); \
    }
    AN_IMPORTS(X)
#undef X
    if ((st->empty_tuple = PyTuple_New(0)) == NULL || (st->zero = PyLong_FromLong(0)) == NULL ||
        (st->kw_context = PyTuple_Pack(1, st->s_context)) == NULL || (st->kw_loop = PyTuple_Pack(1, st->s_loop)) == NULL ||
        (st->kw_task_name = PyTuple_Pack(2, st->s_loop, st->s_name)) == NULL ||
        (st->kw_task_context = PyTuple_Pack(3, st->s_loop, st->s_name, st->s_context)) == NULL) {
        return -1;
    }
    return 0;
}

int
an_state_traverse(PyObject *module, visitproc visit, void *arg)
{
    an_state *st = PyModule_GetState(module);
    if (st == NULL) {
        return 0;
    }
#define X(n, m, a, needed) Py_VISIT(st->o_##n);
    AN_IMPORTS(X)
#undef X
#define X(n) Py_VISIT(st->h_##n);
    AN_HOOKS(X)
#undef X
#define X(n) Py_VISIT(st->n);
    AN_OBJECTS(X)
#undef X
    return 0;
}

int
an_state_clear(PyObject *module)
{
    an_state *st = PyModule_GetState(module);
    if (st == NULL) {
        return 0;
    }
    if (an_st == st) {
        an_st = NULL;
    }
#define X(n, m, a, needed) Py_CLEAR(st->o_##n);
    AN_IMPORTS(X)
#undef X
#define X(n) Py_CLEAR(st->h_##n);
    AN_HOOKS(X)
#undef X
#define X(n) Py_CLEAR(st->n);
    AN_OBJECTS(X)
#undef X
#define X(n) Py_CLEAR(st->s_##n);
    AN_NAMES(X)
#undef X
    return 0;
}
