/* faults.h - calls of CPython's that fail on demand, for tests of the error paths.               Level 0.
 *
 * Only in builds with -Dfaults=true; compat.h includes it last, so every call of the engine's below goes through a count.
 * _core._fault(n, exception) makes the n-th of them from then on fail, once, without having done anything; n = 0 only counts.
 * _core._faults() tells how many there were, and which one has failed; with AN_FAULTS_TRACE in the environment it is said on
 * stderr at once, in case of a crash.
 *
 * Left out are calls that cannot fail with what they are given, and those that put back what was changed (PyContext_Exit).
 *
 * Thread   with the GIL; calls of all threads count.
 */
#ifndef AN_FAULTS_H
#define AN_FAULTS_H

int an_fault(const char *call, const char *file, int line, int raises);

extern PyMethodDef an_faults_methods[];

/* with an exception set: it returns failed */
#define AN_FAULT(failed, call, ...) (an_fault(#call, __FILE__, __LINE__, 1) ? (failed) : call(__VA_ARGS__))
/* without */
#define AN_FAULT_QUIET(failed, call, ...) (an_fault(#call, __FILE__, __LINE__, 0) ? (failed) : call(__VA_ARGS__))
/* with an argument that gets the result */
#define AN_FAULT_OUT(call, a, b, out) (an_fault(#call, __FILE__, __LINE__, 1) ? (*(out) = NULL, -1) : call(a, b, out))

#define PyObject_CallMethodNoArgs(...) AN_FAULT(NULL, PyObject_CallMethodNoArgs, __VA_ARGS__)
#define PyObject_CallMethodOneArg(...) AN_FAULT(NULL, PyObject_CallMethodOneArg, __VA_ARGS__)
#if AN_PY313
#define PyObject_CallFunction(...) AN_FAULT(NULL, PyObject_CallFunction, __VA_ARGS__)
#define PyObject_CallMethod(...) AN_FAULT(NULL, PyObject_CallMethod, __VA_ARGS__)
#else
#undef PyObject_CallFunction /* macros in CPython itself */
#undef PyObject_CallMethod
#define PyObject_CallFunction(...) AN_FAULT(NULL, _PyObject_CallFunction_SizeT, __VA_ARGS__)
#define PyObject_CallMethod(...) AN_FAULT(NULL, _PyObject_CallMethod_SizeT, __VA_ARGS__)
#endif
#define PyObject_CallFunctionObjArgs(...) AN_FAULT(NULL, PyObject_CallFunctionObjArgs, __VA_ARGS__)
#define PyObject_CallOneArg(...) AN_FAULT(NULL, PyObject_CallOneArg, __VA_ARGS__)
#define PyObject_CallNoArgs(...) AN_FAULT(NULL, PyObject_CallNoArgs, __VA_ARGS__)
#define PyObject_Vectorcall(...) AN_FAULT(NULL, PyObject_Vectorcall, __VA_ARGS__)
#define PyObject_VectorcallMethod(...) AN_FAULT(NULL, PyObject_VectorcallMethod, __VA_ARGS__)
#define PyObject_GetAttr(...) AN_FAULT(NULL, PyObject_GetAttr, __VA_ARGS__)
#define PyObject_GetAttrString(...) AN_FAULT(NULL, PyObject_GetAttrString, __VA_ARGS__)
#define PyObject_GetOptionalAttr(a, b, out) AN_FAULT_OUT(PyObject_GetOptionalAttr, a, b, out)
#define PyObject_SetAttr(...) AN_FAULT(-1, PyObject_SetAttr, __VA_ARGS__)
#define PyObject_SetAttrString(...) AN_FAULT(-1, PyObject_SetAttrString, __VA_ARGS__)
#define PyObject_IsTrue(o) (PyBool_Check(o) ? (o) == Py_True : AN_FAULT(-1, PyObject_IsTrue, o))
#define PyObject_RichCompare(...) AN_FAULT(NULL, PyObject_RichCompare, __VA_ARGS__)
#define PyObject_RichCompareBool(...) AN_FAULT(-1, PyObject_RichCompareBool, __VA_ARGS__)
#define PyObject_AsFileDescriptor(...) AN_FAULT(-1, PyObject_AsFileDescriptor, __VA_ARGS__)
#define PyObject_GetIter(...) AN_FAULT(NULL, PyObject_GetIter, __VA_ARGS__)
#define PyObject_Repr(...) AN_FAULT(NULL, PyObject_Repr, __VA_ARGS__)
#define PyIter_Send(a, b, out) \
    (an_fault("PyIter_Send", __FILE__, __LINE__, 1) ? (*(out) = NULL, PYGEN_ERROR) : PyIter_Send(a, b, out))
#define PyDict_New(...) AN_FAULT(NULL, PyDict_New, __VA_ARGS__)
#define PyDict_SetItem(...) AN_FAULT(-1, PyDict_SetItem, __VA_ARGS__)
#define PyDict_SetItemString(...) AN_FAULT(-1, PyDict_SetItemString, __VA_ARGS__)
#define PyDict_GetItemRef(a, b, out) AN_FAULT_OUT(PyDict_GetItemRef, a, b, out)
#define PyDict_DelItem(...) AN_FAULT(-1, PyDict_DelItem, __VA_ARGS__)
#define PyDict_Contains(...) AN_FAULT(-1, PyDict_Contains, __VA_ARGS__)
#define PyList_New(...) AN_FAULT(NULL, PyList_New, __VA_ARGS__)
#define PyList_Append(...) AN_FAULT(-1, PyList_Append, __VA_ARGS__)
#define PyList_SetSlice(...) AN_FAULT(-1, PyList_SetSlice, __VA_ARGS__)
#define PySequence_List(...) AN_FAULT(NULL, PySequence_List, __VA_ARGS__)
#define PySet_Add(...) AN_FAULT(-1, PySet_Add, __VA_ARGS__)
#define PySet_Discard(...) AN_FAULT(-1, PySet_Discard, __VA_ARGS__)
#define PyTuple_New(...) AN_FAULT(NULL, PyTuple_New, __VA_ARGS__)
#define PyTuple_Pack(...) AN_FAULT(NULL, PyTuple_Pack, __VA_ARGS__)
#define PyLong_FromLong(...) AN_FAULT(NULL, PyLong_FromLong, __VA_ARGS__)
#define PyLong_FromSsize_t(...) AN_FAULT(NULL, PyLong_FromSsize_t, __VA_ARGS__)
#define PyLong_AsLong(...) AN_FAULT(-1, PyLong_AsLong, __VA_ARGS__)
#define PyLong_AsSsize_t(...) AN_FAULT(-1, PyLong_AsSsize_t, __VA_ARGS__)
#define PyFloat_FromDouble(...) AN_FAULT(NULL, PyFloat_FromDouble, __VA_ARGS__)
#define PyFloat_AsDouble(o) (PyFloat_Check(o) ? PyFloat_AS_DOUBLE(o) : AN_FAULT(-1.0, PyFloat_AsDouble, o))
#define PyNumber_Float(...) AN_FAULT(NULL, PyNumber_Float, __VA_ARGS__)
#define PyNumber_Add(...) AN_FAULT(NULL, PyNumber_Add, __VA_ARGS__)
#define PyBytes_FromStringAndSize(...) AN_FAULT(NULL, PyBytes_FromStringAndSize, __VA_ARGS__)
#define PyUnicode_FromString(...) AN_FAULT(NULL, PyUnicode_FromString, __VA_ARGS__)
#define PyWeakref_NewRef(...) AN_FAULT(NULL, PyWeakref_NewRef, __VA_ARGS__)
#define PyContext_New(...) AN_FAULT(NULL, PyContext_New, __VA_ARGS__)
#define PyContext_CopyCurrent(...) AN_FAULT(NULL, PyContext_CopyCurrent, __VA_ARGS__)
#define PyContext_Enter(...) AN_FAULT(-1, PyContext_Enter, __VA_ARGS__)
#undef PyCFunction_NewEx /* a macro in CPython itself */
#define PyCFunction_NewEx(...) AN_FAULT(NULL, PyCFunction_NewEx, __VA_ARGS__)
/* of an expression that ends with it, such as (an_gate *)type->tp_alloc(type, 0) */
#define tp_alloc(type, n) \
    tp_alloc == NULL || an_fault("tp_alloc", __FILE__, __LINE__, 1) ? NULL : (void *)(type)->tp_alloc(type, n)
#define PyErr_CheckSignals(...) AN_FAULT(-1, PyErr_CheckSignals, __VA_ARGS__)
#define PyMem_Malloc(...) AN_FAULT_QUIET(NULL, PyMem_Malloc, __VA_ARGS__)
#define PyMem_Calloc(...) AN_FAULT_QUIET(NULL, PyMem_Calloc, __VA_ARGS__)
#define PyMem_Realloc(...) AN_FAULT_QUIET(NULL, PyMem_Realloc, __VA_ARGS__)
#define PyMem_RawMalloc(...) AN_FAULT_QUIET(NULL, PyMem_RawMalloc, __VA_ARGS__)
#define PyThread_allocate_lock(...) AN_FAULT_QUIET(NULL, PyThread_allocate_lock, __VA_ARGS__)

#endif
