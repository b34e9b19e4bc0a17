/* compat.h - what CPython calls differently from 3.10 to 3.15, and what compilers and systems do.    Level 0.
 *
 * The only file that may look at PY_VERSION_HEX or Py_GIL_DISABLED, or at which compiler and system it is; others ask AN_LINUX.
 * Everything newer than 3.10 that the engine uses gets its 3.10 form here, with the version that makes it unnecessary.
 *
 * Thread   with the GIL, as the functions it stands for.
 */
#ifndef AN_COMPAT_H
#define AN_COMPAT_H

#ifndef PY_SSIZE_T_CLEAN
#define PY_SSIZE_T_CLEAN
#endif
#include <Python.h>

/* The fast paths of one system: epoll, eventfd, sockets without Python frames, memory for frames. With -Dgeneric=true they are
 * left out on Linux, too, so what other systems get is tested there. */
#if defined(__linux__) && !defined(AN_GENERIC)
#define AN_LINUX 1
#else
#define AN_LINUX 0
#endif

/* kqueue, where a system has it and -Dkqueue=disabled has not left it out. -Dgeneric=true -Dkqueue=enabled is for tests on
 * Linux, where it is a library. Which class a loop's selector has to be, and what it is made of. */
#if AN_LINUX
#undef AN_KQUEUE
#define AN_KQUEUE 0
#elif !defined(AN_KQUEUE)
#if defined(__APPLE__) || defined(__FreeBSD__) || defined(__NetBSD__) || defined(__OpenBSD__) || defined(__DragonFly__)
#define AN_KQUEUE 1
#else
#define AN_KQUEUE 0
#endif
#endif
/* kevent()'s number of events, an int elsewhere */
#ifdef __NetBSD__
#define AN_KEVENTS(n) ((size_t)(n))
#else
#define AN_KEVENTS(n) (n)
#endif
#define AN_POLLS (AN_LINUX || AN_KQUEUE)
#define AN_SELECTOR (AN_KQUEUE ? "KqueueSelector" : "EpollSelector")
#define AN_SELECT_TYPE (AN_KQUEUE ? "select.kqueue" : "select.epoll")

#define AN_PY311 (PY_VERSION_HEX >= 0x030B0000)
#define AN_PY312 (PY_VERSION_HEX >= 0x030C0000)
#define AN_PY313 (PY_VERSION_HEX >= 0x030D0000)
#define AN_PY314 (PY_VERSION_HEX >= 0x030E0000)
#define AN_PY315 (PY_VERSION_HEX >= 0x030F0000)

#ifdef Py_GIL_DISABLED
#define AN_FREE_THREADED 1
#else
#define AN_FREE_THREADED 0
#endif

#if defined(__GNUC__) || defined(__clang__)
#define AN_LIKELY(x) (__builtin_expect(!!(x), 1) != 0)
#define AN_UNLIKELY(x) (__builtin_expect(!!(x), 0) != 0)
#define AN_NOINLINE __attribute__((noinline))
#define AN_TLS _Thread_local
#define AN_STACK_HERE() ((uintptr_t)__builtin_frame_address(0))
#else
#define AN_LIKELY(x) (x)
#define AN_UNLIKELY(x) (x)
#define AN_NOINLINE __declspec(noinline)
#define AN_TLS __declspec(thread)
#include <intrin.h>
#define AN_STACK_HERE() ((uintptr_t)_AddressOfReturnAddress())
#endif

#ifndef Py_TPFLAGS_IMMUTABLETYPE
#error "CPython 3.10 or newer is needed"
#endif

/* 3.12: one exception object instead of three. */
#if !AN_PY312
static inline PyObject *
PyErr_GetRaisedException(void)
{
    PyObject *type, *value, *tb;
    PyErr_Fetch(&type, &value, &tb);
    if (type == NULL) {
        return NULL;
    }
    PyErr_NormalizeException(&type, &value, &tb);
    if (tb != NULL) {
        PyException_SetTraceback(value, tb);
        Py_DECREF(tb);
    }
    Py_DECREF(type);
    return value;
}

static inline void
PyErr_SetRaisedException(PyObject *exc)
{
    if (exc == NULL) {
        PyErr_Clear();
        return;
    }
    PyErr_Restore(Py_NewRef((PyObject *)Py_TYPE(exc)), exc, PyException_GetTraceback(exc));
}
#endif

/* 3.13: Py_IsFinalizing is public. */
#if !AN_PY313
static inline int
Py_IsFinalizing(void)
{
    return _Py_IsFinalizing();
}
#endif

/* 3.13: PyDict_GetItemRef, 1 found, 0 not there, -1 error. */
#if !AN_PY313
static inline int
PyDict_GetItemRef(PyObject *d, PyObject *key, PyObject **out)
{
    PyObject *v = PyDict_GetItemWithError(d, key);
    *out = Py_XNewRef(v);
    return v != NULL ? 1 : (PyErr_Occurred() ? -1 : 0);
}
#endif

/* 3.13: PyObject_GetOptionalAttr. */
#if !AN_PY313
static inline int
PyObject_GetOptionalAttr(PyObject *o, PyObject *name, PyObject **out)
{
    *out = PyObject_GetAttr(o, name);
    if (*out != NULL) {
        return 1;
    }
    if (PyErr_ExceptionMatches(PyExc_AttributeError)) {
        PyErr_Clear();
        return 0;
    }
    return -1;
}
#endif

/* 3.13: PyImport_ImportModuleAttrString came with 3.14 only. */
static inline PyObject *
an_import_attr(const char *module, const char *name)
{
    PyObject *m = PyImport_ImportModule(module);
    if (m == NULL) {
        return NULL;
    }
    PyObject *v = PyObject_GetAttrString(m, name);
    Py_DECREF(m);
    return v;
}

/* 3.13: the clock of time.monotonic() is public. On Linux it is CLOCK_MONOTONIC, which is read without a call into CPython. */
#if AN_LINUX
#include <time.h>
static inline double
an_monotonic(void)
{
    struct timespec ts;
    clock_gettime(CLOCK_MONOTONIC, &ts);
    return (double)ts.tv_sec + (double)ts.tv_nsec * 1e-9;
}
#elif AN_PY313
static inline double
an_monotonic(void)
{
    PyTime_t t;
    (void)PyTime_MonotonicRaw(&t); /* fails for a system without such a clock only, where CPython does not start */
    return PyTime_AsSecondsDouble(t);
}
#else
static inline double
an_monotonic(void)
{
    return _PyTime_AsSecondsDouble(_PyTime_GetMonotonicClock());
}
#endif

/* Atomic counters: MSVC has <stdatomic.h> in C++ and in experimental modes only. */
#ifdef __STDC_NO_ATOMICS__
#include <intrin.h>
typedef volatile long an_counter;
#define AN_COUNTER_ADD(c, n) ((void)_InterlockedExchangeAdd((c), (n)))
#define AN_COUNTER_GET(c) _InterlockedOr((c), 0)
#define AN_COUNTER_SET(c, n) ((void)_InterlockedExchange((c), (n)))
#else
#include <stdatomic.h>
typedef atomic_long an_counter;
#define AN_COUNTER_ADD(c, n) ((void)atomic_fetch_add_explicit((c), (n), memory_order_acq_rel))
#define AN_COUNTER_GET(c) atomic_load_explicit((c), memory_order_acquire)
#define AN_COUNTER_SET(c, n) atomic_store_explicit((c), (n), memory_order_release)
#endif

/* The current context object, borrowed, or NULL: no version has a function that tells it without making one. */
static inline PyObject *
an_current_context(void)
{
    return PyThreadState_Get()->context;
}

/* 3.12: dictionaries tell of their changes (PyDict_Watch), before they have a version. */
#define AN_DICTS_HAVE_VERSIONS (!AN_PY312)
#if AN_DICTS_HAVE_VERSIONS
#define AN_DICT_VERSION(d) ((unsigned long long)((PyDictObject *)(d))->ma_version_tag)
#else
#define AN_DICT_VERSION(d) 0ULL
#endif

/* 3.13.0: setattr() does not tell of a change to a __dict__ that shares its values with its object. The number of its entries
 * stands for them, with the place of the youngest: what is patched is an attribute of the class, and new in the __dict__. */
#define AN_DICTS_MAY_BE_SILENT (AN_PY313 && !AN_PY314)
#if AN_DICTS_MAY_BE_SILENT
/* CPython's struct _dictvalues; behind the values are the places of those that are set, oldest first, a byte for each */
typedef struct {
    unsigned char capacity, size, embedded, valid;
    PyObject *values[1];
} an_dict_values;

static inline unsigned long long
an_dict_size_tag(PyDictObject *dict)
{
    an_dict_values *v = (an_dict_values *)dict->ma_values;
    unsigned youngest = v == NULL || v->size == 0 ? 0 : ((unsigned char *)&v->values[v->capacity])[v->size - 1];
    return (unsigned long long)dict->ma_used << 8 | youngest;
}
#define AN_DICT_SIZE_TAG(d) an_dict_size_tag((PyDictObject *)(d))
#else
#define AN_DICT_SIZE_TAG(d) AN_DICT_VERSION(d)
#endif

/* A frame object's own f_back: all there is on 3.10, and since 3.11 set where a frame has outlived its call; f_back is asked
 * there first. */
#if !AN_PY311
#include <frameobject.h>
#endif
#if AN_PY311
#define AN_FRAME_BACK(f) ((PyObject **)((char *)(f) + sizeof(PyObject)))
#else
#define AN_FRAME_BACK(f) ((PyObject **)((char *)(f) + sizeof(PyVarObject)))
#endif

/* 3.10, where coroutines are told where they were made (debug mode): it walks the frames by f_back with a borrowed pointer,
 * over allocations that may collect garbage (compute_cr_origin). 3.11 walks the inner links, and 3.12 collects elsewhere. */
#if AN_PY311
#define AN_WALKS_FRAMES() 0
#else
#define AN_WALKS_FRAMES() (PyThreadState_Get()->coroutine_origin_tracking_depth > 0)
#endif

/* 3.12 collects garbage between two lines of Python code. Before that it is amid any allocation, and finalizers may run
 * anything there, a nested loop too. What CPython reads before an allocation and uses after it is called between these two. */
#if AN_PY312
#define AN_COLLECTOR_OFF() 0
#define AN_COLLECTOR_BACK(was) ((void)(was))
#else
#define AN_COLLECTOR_OFF() PyGC_Disable()
#define AN_COLLECTOR_BACK(was) ((void)((was) ? PyGC_Enable() : 0))
#endif

/* Module slots that came later. */
#if AN_PY312
#define AN_SLOT_INTERPRETERS {Py_mod_multiple_interpreters, Py_MOD_MULTIPLE_INTERPRETERS_NOT_SUPPORTED},
#else
#define AN_SLOT_INTERPRETERS
#endif

#ifdef AN_FAULTS
#include "faults.h" /* last: it puts itself before the calls of what follows */
#endif

#endif
