#include "bound.h"

#if AN_PY312

int
an_bound_init(void)
{
    return 0;
}

PyObject *
an_bound_method(PyTypeObject *cls, PyMethodDef *def)
{
    return PyDescr_NewMethod(cls, def);
}

#else

#include <stddef.h>
#include <structmember.h>

typedef struct {
    PyObject_HEAD
    vectorcallfunc vectorcall;
    PyObject *method; /* CPython's own descriptor */
} bound;

static int
bound_traverse(PyObject *self, visitproc visit, void *arg)
{
    Py_VISIT(Py_TYPE(self));
    Py_VISIT(((bound *)self)->method);
    return 0;
}

static void
bound_dealloc(PyObject *self)
{
    PyTypeObject *tp = Py_TYPE(self);
    PyObject_GC_UnTrack(self);
    Py_DECREF(((bound *)self)->method);
    tp->tp_free(self);
    Py_DECREF(tp);
}

/* Called with the object in front, as a descriptor of a method is where no bound method is needed. */
static PyObject *
bound_call(PyObject *self, PyObject *const *args, size_t nargsf, PyObject *kwnames)
{
    return PyObject_Vectorcall(((bound *)self)->method, args, nargsf, kwnames);
}

static PyObject *
bound_get(PyObject *self, PyObject *object, PyObject *cls)
{
    if (object == NULL) {
        return Py_NewRef(self);
    }
    PyObject *method = ((bound *)self)->method;
    int was = AN_COLLECTOR_OFF();
    PyObject *r = Py_TYPE(method)->tp_descr_get(method, object, cls);
    AN_COLLECTOR_BACK(was);
    return r;
}

static PyObject *
bound_getattro(PyObject *self, PyObject *name)
{
    return PyObject_GetAttr(((bound *)self)->method, name);
}

static PyObject *
bound_repr(PyObject *self)
{
    return PyObject_Repr(((bound *)self)->method);
}

static PyMemberDef bound_members[] = {
    {"__vectorcalloffset__", T_PYSSIZET, offsetof(bound, vectorcall), READONLY, NULL},
    {NULL, 0, 0, 0, NULL},
};

static PyType_Slot bound_slots[] = {
    {Py_tp_dealloc, bound_dealloc},   {Py_tp_traverse, bound_traverse},
    {Py_tp_call, PyVectorcall_Call},  {Py_tp_descr_get, bound_get},
    {Py_tp_getattro, bound_getattro}, {Py_tp_repr, bound_repr},
    {Py_tp_members, bound_members},   {0, NULL},
};

static PyType_Spec bound_spec = {
    .name = "aionest._core.MethodDescriptor",
    .basicsize = sizeof(bound),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC | Py_TPFLAGS_DISALLOW_INSTANTIATION | Py_TPFLAGS_IMMUTABLETYPE |
             Py_TPFLAGS_HAVE_VECTORCALL | Py_TPFLAGS_METHOD_DESCRIPTOR,
    .slots = bound_slots,
};

int
an_bound_init(void)
{
    an_st->type_bound = PyType_FromSpec(&bound_spec);
    return an_st->type_bound == NULL ? -1 : 0;
}

PyObject *
an_bound_method(PyTypeObject *cls, PyMethodDef *def)
{
    PyTypeObject *tp = (PyTypeObject *)an_st->type_bound;
    PyObject *method = PyDescr_NewMethod(cls, def);
    bound *self = method == NULL ? NULL : (bound *)tp->tp_alloc(tp, 0);
    if (self == NULL) {
        Py_XDECREF(method);
        return NULL;
    }
    self->vectorcall = bound_call;
    self->method = method;
    return (PyObject *)self;
}

#endif
